"""Log-in sessions: one row for each device, which can be ended at once from any other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, delete, select, update

from ..db import db, read_only, read_write
from .models import OwnerSession
from .tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_LIMIT = timedelta(days=14)
AGE_LIMIT = timedelta(days=90)
_TOUCH = timedelta(minutes=5)

# The first that matches wins: every browser also claims to be some of those below it.
_BROWSERS = (
    (r"Edg(?:e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"SamsungBrowser/", "Samsung Internet"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrome/|CriOS/|Chromium/", "Chrome"),
    (r"Safari/", "Safari"),
)
_SYSTEMS = (
    (r"iPhone", "iPhone"),
    (r"iPad", "iPad"),
    (r"Android", "Android"),
    (r"Windows", "Windows"),
    (r"CrOS", "ChromeOS"),
    (r"Macintosh|Mac OS X", "Mac"),
    (r"Linux|X11", "Linux"),
)


@dataclass(frozen=True)
class CurrentAccount:
    """The account of whoever is logged in, as it was when the request began."""

    id: int
    slug: str
    name: str
    time_zone: str


@dataclass(frozen=True)
class LoggedIn:
    """Who is logged in: what ``current_user`` is. A value, not a row, so no transaction hangs on it."""

    id: int  # of the owner
    name: str
    mailbox: str
    account: CurrentAccount
    session_id: int
    token: str
    is_operator: bool = False
    is_authenticated = True
    is_active = True
    is_anonymous = False

    @property
    def account_id(self) -> int:
        """The id of the account this owner looks after."""
        return self.account.id

    def get_id(self) -> str:
        """What Flask-Login keeps in the cookie: a random token, never the owner's number."""
        return self.token


def start(owner_id: int, *, device: str, now: datetime) -> str:
    """Record a log-in inside the present transaction and return its token. The caller commits."""
    db.session.execute(delete(OwnerSession).where(OwnerSession.owner_id == owner_id, ~_alive(now)))
    token = new_token()
    row = OwnerSession(token_hash=hash_token(token), owner_id=owner_id, device=device)
    row.created_at = row.seen_at = now
    db.session.add(row)
    return token


def find(token: str, *, now: datetime) -> LoggedIn | None:
    """Return who holds this token, if its session is alive, and note now and then that it was seen.

    The look-up has a transaction of its own, which only reads and has ended when this returns: whoever
    asks may be about to read for long, or to write. A note in the same transaction could fail (a SQLite
    transaction that began by reading cannot wait for the write lock), so it follows in another.
    """
    with read_only():
        row = db.session.scalar(
            select(OwnerSession).where(OwnerSession.token_hash == hash_token(token), _alive(now))
        )
        found = _value(row, token) if row else None
        stale = row is not None and now - row.seen_at >= _TOUCH
        db.session.rollback()
    if found and stale:
        _touch(found.session_id, now)
    return found


def _touch(session_id: int, now: datetime) -> None:
    with read_write():
        db.session.execute(update(OwnerSession).where(OwnerSession.id == session_id).values(seen_at=now))
        db.session.commit()


def _value(row: OwnerSession, token: str) -> LoggedIn:
    owner, account = row.owner, row.owner.account
    return LoggedIn(
        id=owner.id,
        name=owner.name,
        mailbox=owner.mailbox,
        account=CurrentAccount(account.id, account.slug, account.name, account.time_zone),
        session_id=row.id,
        token=token,
        is_operator=owner.is_operator,
    )


def devices(owner_id: int, *, now: datetime) -> Sequence[OwnerSession]:
    """Return the owner's sessions that are alive, the last seen first."""
    query = select(OwnerSession).where(OwnerSession.owner_id == owner_id, _alive(now))
    return db.session.scalars(query.order_by(OwnerSession.seen_at.desc(), OwnerSession.id.desc())).all()


def end(owner_id: int, session_id: int, *, now: datetime) -> bool:
    """Log one device of this owner out; return whether there was such a session."""
    count = revoke(OwnerSession.owner_id == owner_id, OwnerSession.id == session_id, now=now)
    db.session.commit()
    return count > 0


def end_others(owner_id: int, session_id: int, *, now: datetime) -> int:
    """Log every device of this owner out but the present one; return how many there were."""
    count = revoke(OwnerSession.owner_id == owner_id, OwnerSession.id != session_id, now=now)
    db.session.commit()
    return count


def revoke(*which: ColumnElement[bool], now: datetime) -> int:
    """Revoke the living sessions that match, inside the present transaction. The caller commits."""
    statement = update(OwnerSession).where(*which, _alive(now)).values(revoked_at=now)
    return int(db.session.execute(statement).rowcount)  # type: ignore[attr-defined]


def _alive(now: datetime) -> ColumnElement[bool]:
    return and_(
        OwnerSession.revoked_at.is_(None),
        OwnerSession.seen_at > now - IDLE_LIMIT,
        OwnerSession.created_at > now - AGE_LIMIT,
    )


def describe_device(user_agent: str) -> str:
    """Name a device so that its owner knows it again: "Firefox on Linux"."""
    browser = _first(_BROWSERS, user_agent)
    system = _first(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown device"


def _first(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in table if re.search(pattern, text[:1000])), "")
