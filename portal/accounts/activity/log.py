"""Reads the audit trail of an account: one page, or all that matches in batches.

Rows are ordered by time, and by id within a moment; each filter has an index in this order, so a page costs the same
wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from ...audit import Way
from ...audit.models import AuditEntry
from ...db import db, read_only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from sqlalchemy import ColumnElement, Select

    from .filters import ActivityFilters

PAGE_ROWS = 50
BATCH_ROWS = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY_CHARS = 40
_MAX_MICROSECONDS = 10**17  # in the year 5138


@dataclass(frozen=True)
class ActivityView:
    """Whose rows are read: an account, the filters and their time zone, and with ``only`` those of one person.

    Without an account: what concerns the installation.
    """

    account_id: int | None
    filters: ActivityFilters
    zone: tzinfo
    only: int | None = None


@dataclass(frozen=True)
class ActivityPage:
    """One page, newest first. ``older`` and ``newer`` are the keys of the adjacent pages, empty without one."""

    rows: Sequence[AuditEntry]
    older: str
    newer: str


def read_page(view: ActivityView, *, before: str = "", after: str = "") -> ActivityPage:
    """Return the page older than the row of the key ``before`` or newer than that of ``after``; without both the first."""
    query, size = _query(view), PAGE_ROWS
    if (key := _read_key(after)) is not None:
        ascending = query.where(_is_newer(*key)).order_by(AuditEntry.at.asc(), AuditEntry.id.asc())
        found = list(db.session.scalars(ascending.limit(size + 1)))
        rows = found[:size][::-1]
        return ActivityPage(rows, _key(rows[-1]) if rows else "", _key(rows[0]) if len(found) > size else "")
    key = _read_key(before)
    if key is not None:
        query = query.where(_is_older(*key))
    found = list(db.session.scalars(_newest_first(query).limit(size + 1)))
    rows = found[:size]
    older = _key(rows[-1]) if len(found) > size else ""
    return ActivityPage(rows, older, _key(rows[0]) if key is not None and rows else "")


def batches(view: ActivityView) -> Iterator[Sequence[AuditEntry]]:
    """Yield all rows that match, newest first, each batch read in a short transaction of its own."""
    key: tuple[datetime, int] | None = None
    while True:
        with read_only():
            query = _query(view) if key is None else _query(view).where(_is_older(*key))
            rows = list(db.session.scalars(_newest_first(query).limit(BATCH_ROWS)))
            if rows:
                key = rows[-1].at, rows[-1].id
            db.session.expunge_all()
            db.session.rollback()
        yield rows
        if len(rows) < BATCH_ROWS:
            return


def last_name_of(account_id: int, person_id: int) -> str:
    """Return the name under which a person last acted in an account; empty for an unknown one."""
    query = select(AuditEntry.actor_name).where(
        AuditEntry.account_id == account_id, AuditEntry.actor_id == person_id, AuditEntry.way == Way.PAGE
    )
    return db.session.scalar(query.order_by(AuditEntry.at.desc(), AuditEntry.id.desc()).limit(1)) or ""


def _query(view: ActivityView) -> Select[Any]:
    query, filters = select(AuditEntry).where(AuditEntry.account_id == view.account_id), view.filters
    person = filters.person if view.only is None else view.only
    if person is not None:
        query = query.where(AuditEntry.actor_id == person, AuditEntry.way == Way.PAGE)
    if filters.kind is not None:
        query = query.where(AuditEntry.kind == filters.kind)
    if (start := filters.start(view.zone)) is not None:
        query = query.where(AuditEntry.at >= start)
    if (end := filters.end(view.zone)) is not None:
        query = query.where(AuditEntry.at < end)
    return query


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(AuditEntry.at.desc(), AuditEntry.id.desc())


# The first condition lets the index skip; the second one decides within a moment.
def _is_older(at: datetime, id_: int) -> ColumnElement[bool]:
    return and_(AuditEntry.at <= at, or_(AuditEntry.at < at, AuditEntry.id < id_))


def _is_newer(at: datetime, id_: int) -> ColumnElement[bool]:
    return and_(AuditEntry.at >= at, or_(AuditEntry.at > at, AuditEntry.id > id_))


def _key(row: AuditEntry) -> str:
    return f"{(row.at - _EPOCH) // _MICROSECOND}-{row.id}"


def _read_key(text: str) -> tuple[datetime, int] | None:
    """Return time and id of a key; None, the first page, for anything else."""
    at, dash, id_ = text[:_KEY_CHARS].partition("-")
    if not (dash and at.isascii() and at.isdigit() and id_.isascii() and id_.isdigit() and len(id_) < 19):
        return None
    if int(at) > _MAX_MICROSECONDS:
        return None
    return _EPOCH + int(at) * _MICROSECOND, int(id_)
