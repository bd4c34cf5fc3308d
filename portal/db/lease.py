"""Leases: the exclusive right of one worker to a row, for a limited time.

A worker that crashes or hangs loses its row when the lease lapses. The end of a lease is its token as well: another
worker that takes the row sets another end, so the first one finds out that the row is no longer its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, or_

from . import db

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class Leasable(Protocol):
    """A mapped class with ``id`` and ``lease_until``, the end of the lease on a row or None."""

    id: Any
    lease_until: Any


_Row = TypeVar("_Row", bound=Leasable)


@dataclass
class Lease(Generic[_Row]):
    """The lease of this worker on the row ``id_`` of ``table``."""

    table: type[_Row]
    id_: int
    until: datetime

    def still_mine(self) -> _Row | None:
        """Return the row, locked until the transaction ends, or None if the lease is another worker's by now."""
        db.session.flush()
        row = db.session.get_one(self.table, self.id_, populate_existing=True, with_for_update=True)
        return row if row.lease_until == self.until else None

    def renew(self, row: _Row, duration: timedelta, *, now: datetime) -> None:
        """Extend the lease to ``duration`` from now. The caller commits."""
        row.lease_until = self.until = now + duration


def take(row: _Row, duration: timedelta, *, now: datetime) -> Lease[_Row]:
    """Take the lease on a row that is locked and free, for ``duration``. The caller commits."""
    lease = Lease(type(row), row.id, now + duration)
    row.lease_until = lease.until
    return lease


def lapsed(table: type[Leasable], now: datetime) -> ColumnElement[bool]:
    """Return the condition that a row was leased and the lease is over."""
    condition: ColumnElement[bool] = table.lease_until <= now
    return condition


def is_free(table: type[Leasable], now: datetime) -> ColumnElement[bool]:
    """Return the condition that no worker holds the lease on a row."""
    return or_(table.lease_until.is_(None), lapsed(table, now))


def has_lapsed(row: Leasable, now: datetime) -> bool:
    """Return whether a row was leased and the lease is over."""
    return row.lease_until is not None and bool(row.lease_until <= now)
