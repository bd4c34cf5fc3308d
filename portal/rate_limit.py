"""Budgets: how often something may be done, counted in the database so that every process agrees.

A budget protects somebody: the owner from guessed passwords, a stranger from sign-ups in their name,
a mail provider from our own test button. Keys are hashed, so the table holds nobody's address.
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
from .db.prepared import Swift


class BudgetCount(Base):
    """How much of one budget one key has spent in one window."""

    __tablename__ = "rate_limit_counter"
    window_start: Mapped[datetime] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    # In the order of the windows, so that what is over is found at one end, and kept once in SQLite.
    __table_args__ = {"sqlite_with_rowid": False}


@dataclass(frozen=True)
class Budget:
    """At most ``amount`` in each ``window``."""

    name: str
    amount: int
    window: timedelta


def spend(budget: Budget, *key: object, now: datetime) -> bool:
    """Count one use inside the present transaction; return whether the budget still allowed it."""
    row = {"key": _key(budget, key), "window_start": _window(budget, now)}
    used: int = _spending(db.engine.dialect.name).scalar(row)
    return used <= budget.amount


@cache
def _spending(_dialect: str) -> Swift:
    """The statement that counts, put together once: every sign-up and every log-in counts."""
    table = BudgetCount.__table__
    row = {"key": bindparam("key"), "window_start": bindparam("window_start"), "used": 1}
    statement = (
        insert(BudgetCount)
        .values(row)
        .on_conflict_do_update(index_elements=["key", "window_start"], set_={"used": table.c.used + 1})
    )
    return Swift(statement.returning(table.c.used))


def left(budget: Budget, *key: object, now: datetime) -> int:
    """Return how many uses remain in the present window."""
    used = db.session.scalar(
        select(BudgetCount.used).where(
            BudgetCount.key == _key(budget, key), BudgetCount.window_start == _window(budget, now)
        )
    )
    return max(0, budget.amount - (used or 0))


def forget(budget: Budget, *key: object, now: datetime) -> None:
    """Give a key its whole budget back, as after a right password."""
    db.session.execute(
        delete(BudgetCount).where(
            BudgetCount.key == _key(budget, key), BudgetCount.window_start == _window(budget, now)
        )
    )


def prune(now: datetime) -> None:
    """Remove the counts of windows that ended two days ago. Commits."""
    db.session.execute(delete(BudgetCount).where(BudgetCount.window_start < now - timedelta(days=2)))
    db.session.commit()


def _key(budget: Budget, key: tuple[object, ...]) -> str:
    secret = str(current_app.config["SECRET_KEY"]).encode()
    text = "\x1f".join([budget.name, *map(str, key)])
    return hmac.digest(secret, text.encode("utf-8", "replace"), "sha256").hex()[:40]


def _window(budget: Budget, now: datetime) -> datetime:
    seconds = int(budget.window.total_seconds())
    return now.fromtimestamp(int(now.timestamp()) // seconds * seconds, tz=now.tzinfo)
