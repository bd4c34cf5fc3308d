"""An account's own texts: numbered versions, of which the last one is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, func, select

from ..db import db
from ..db.prepared import PreparedStatement
from .defaults import Text, default_text
from .models import TextVersion

if TYPE_CHECKING:
    from .catalogue import Notice

_ROW = TextVersion.__table__.c
_WORDS = PreparedStatement(
    select(_ROW.shipped, _ROW.subject, _ROW.html, _ROW.text)
    .where(_ROW.account_id == bindparam("account_id"), _ROW.kind == bindparam("kind"))
    .order_by(_ROW.number.desc())
    .limit(1)
)


def current_text(account_id: int, notice: Notice) -> Text:
    """Return the text that is sent: the account's own, or the one Signet ships."""
    row = None if notice.locked else _WORDS.first(account_id=account_id, kind=notice.kind)
    return default_text(notice) if row is None or row[0] else Text(*row[1:])


def text_of(row: TextVersion, notice: Notice) -> Text:
    """Return the words of a version."""
    return default_text(notice) if row.shipped else Text(row.subject, row.html, row.text)


def newest_version(account_id: int, notice: Notice) -> TextVersion | None:
    """Return the version saved last, which is the one that is sent."""
    return db.session.scalar(_versions(account_id, notice).limit(1))


def find_version(account_id: int, notice: Notice, number: int) -> TextVersion | None:
    """Return one version of this account by its number."""
    return db.session.scalar(_versions(account_id, notice).where(TextVersion.number == number))


def list_versions(account_id: int, notice: Notice, limit: int = 50) -> list[TextVersion]:
    """Return the versions, newest first."""
    return list(db.session.scalars(_versions(account_id, notice).limit(limit)))


def newest_versions(account_id: int) -> dict[str, TextVersion]:
    """Return the last version of each kind that has one."""
    last = (
        select(TextVersion.kind, func.max(TextVersion.number).label("number"))
        .where(TextVersion.account_id == account_id)
        .group_by(TextVersion.kind)
        .subquery()
    )
    query = select(TextVersion).join(
        last, (last.c.kind == TextVersion.kind) & (last.c.number == TextVersion.number)
    )
    rows = db.session.scalars(query.where(TextVersion.account_id == account_id))
    return {row.kind: row for row in rows}


def _versions(account_id: int, notice: Notice) -> Select[TextVersion]:
    query = select(TextVersion).where(TextVersion.account_id == account_id, TextVersion.kind == notice.kind)
    return query.order_by(TextVersion.number.desc())
