"""Rate limits: fixed-window counters in the database, shared by all processes.

They limit password guesses, sign-ups in other people's names and test emails. Keys are hashed, so the table holds no address.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from flask import current_app
from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, db, insert
from .db.prepared import PreparedStatement


class RateLimitCounter(Base):
    """How often one key was used under one limit in one window."""

    __tablename__ = "rate_limit_counter"
    window_start: Mapped[datetime] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    # The key begins with the window, so old rows are adjacent; without a rowid SQLite stores each row once.
    __table_args__ = {"sqlite_with_rowid": False}


@dataclass(frozen=True)
class RateLimit:
    """At most ``amount`` uses of a key in each ``window``. ``name`` keeps the keys of different limits apart."""

    name: str
    amount: int
    window: timedelta


def consume(limit: RateLimit, *key: object, now: datetime) -> bool:
    """Count one use within the current transaction; return whether the limit allows it."""
    row = {"key": _key(limit, key), "window_start": _window(limit, now)}
    used: int = _increment(db.engine.dialect.name).scalar(**row)
    return used <= limit.amount


@cache
def _increment(_dialect: str) -> PreparedStatement:
    """Return the counting statement, compiled once: it runs for every sign-up and every log-in."""
    table = RateLimitCounter.__table__
    row = {"key": bindparam("key"), "window_start": bindparam("window_start"), "used": 1}
    statement = (
        insert(RateLimitCounter)
        .values(row)
        .on_conflict_do_update(index_elements=["key", "window_start"], set_={"used": table.c.used + 1})
    )
    return PreparedStatement(statement.returning(table.c.used))


def remaining(limit: RateLimit, *key: object, now: datetime) -> int:
    """Return how many uses remain in the current window."""
    used = db.session.scalar(
        select(RateLimitCounter.used).where(
            RateLimitCounter.key == _key(limit, key), RateLimitCounter.window_start == _window(limit, now)
        )
    )
    return max(0, limit.amount - (used or 0))


def reset(limit: RateLimit, *key: object, now: datetime) -> None:
    """Remove the count of a key in the current window, as after a correct password. The caller commits."""
    db.session.execute(
        delete(RateLimitCounter).where(
            RateLimitCounter.key == _key(limit, key), RateLimitCounter.window_start == _window(limit, now)
        )
    )


def remove_old_counters(now: datetime) -> None:
    """Remove the counts of windows that ended two days ago. Commits."""
    db.session.execute(
        delete(RateLimitCounter).where(RateLimitCounter.window_start < now - timedelta(days=2))
    )
    db.session.commit()


def _key(limit: RateLimit, key: tuple[object, ...]) -> str:
    secret = str(current_app.config["SECRET_KEY"]).encode()
    text = "\x1f".join([limit.name, *map(str, key)])
    return hmac.digest(secret, text.encode("utf-8", "replace"), "sha256").hex()[:40]


def _window(limit: RateLimit, now: datetime) -> datetime:
    seconds = int(limit.window.total_seconds())
    return now.fromtimestamp(int(now.timestamp()) // seconds * seconds, tz=now.tzinfo)
