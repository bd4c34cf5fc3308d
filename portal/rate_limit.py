"""Rate limits over sliding windows: counters in the database, shared by all processes.

They limit password guesses, sign-ups in other people's names and test emails. Keys are hashed, so the table holds no address.

A window is divided into slots, and each slot has a counter. A use counts until its whole slot has left the window: no
window, wherever it begins, holds more than the limit, and a use blocks for at most one slot longer than the window.
Refused uses are not counted, so trying again does not prolong the wait.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from flask import current_app
from sqlalchemy import BindParameter, ColumnElement, bindparam, delete, func, literal, select
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, db, insert
from .db.prepared import PreparedStatement
from .db.transaction import current_dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS = 12  # of a window
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RateLimitCounter(Base):
    """How often one key was used under one limit in one slot, which begins at ``window_start``."""

    __tablename__ = "rate_limit_counter"
    window_start: Mapped[datetime] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    # The key begins with the time, so old rows are adjacent; without a rowid SQLite stores each row once.
    __table_args__ = {"sqlite_with_rowid": False}


@dataclass(frozen=True)
class RateLimit:
    """At most ``amount`` uses of a key in any ``window``. ``name`` keeps the keys of different limits apart."""

    name: str
    amount: int
    window: timedelta

    @property
    def slot(self) -> timedelta:
        """The length of a slot."""
        return self.window / SLOTS


def consume(limit: RateLimit, *key: object, now: datetime) -> bool:
    """Count one use within the current transaction, if the limit allows it; return whether it does."""
    counted = _increment(current_dialect()).scalar(
        of_key=_key(limit, key), amount=limit.amount, **_slots(limit, now)
    )
    return counted is not None


def consume_or_wait(limit: RateLimit, *key: object, now: datetime) -> timedelta:
    """Count one use as ``consume``; return zero, or how long to wait if the limit does not allow it."""
    return timedelta() if consume(limit, *key, now=now) else wait(limit, *key, now=now)


def remaining(limit: RateLimit, *key: object, now: datetime) -> int:
    """Return how many uses the limit allows now."""
    return max(0, limit.amount - used(limit, *key, now=now))


def used(limit: RateLimit, *key: object, now: datetime) -> int:
    """Return how many uses are counted in the window that ends now."""
    return sum(_used_by_slot(_key(limit, key), _slots(limit, now)).values())


def wait(limit: RateLimit, *key: object, now: datetime) -> timedelta:
    """Return how long from now the limit allows no use of the key; zero if it allows one at once."""
    by_slot = _used_by_slot(_key(limit, key), _slots(limit, now))
    left, end = sum(by_slot.values()), now
    for slot in sorted(by_slot):
        if left < limit.amount:
            break
        left -= by_slot[slot]
        end = slot + limit.window + limit.slot
    return end - now


def reset(limit: RateLimit, *key: object, now: datetime) -> None:
    """Remove the counted uses of a key, as after a correct password. The caller commits."""
    _delete().rowcount(of_key=_key(limit, key), **_slots(limit, now))


def remove_old_counters(now: datetime) -> None:
    """Remove the counters of slots that began two days ago, twice the longest window. Commits."""
    db.session.execute(
        delete(RateLimitCounter).where(RateLimitCounter.window_start < now - timedelta(days=2))
    )
    db.session.commit()


def _key(limit: RateLimit, key: tuple[object, ...]) -> str:
    secret = str(current_app.config["SECRET_KEY"]).encode()
    text = "\x1f".join([limit.name, *map(str, key)])
    return hmac.digest(secret, text.encode("utf-8", "replace"), "sha256").hex()[:40]


def _slots(limit: RateLimit, now: datetime) -> Mapping[str, datetime]:
    """Return the beginnings of the slots that the window before ``now`` touches, the current one first, as parameters."""
    slot = limit.slot
    return _slots_until(_EPOCH + (now - _EPOCH) // slot * slot, slot)


@lru_cache(maxsize=64)
def _slots_until(current: datetime, slot: timedelta) -> Mapping[str, datetime]:
    return {f"slot_{number}": current - number * slot for number in range(SLOTS + 1)}


def _used_by_slot(key: str, slots: Mapping[str, datetime]) -> dict[datetime, int]:
    return dict(_select().all(of_key=key, **slots))


# The statements are compiled once: they run for every sign-up and every log-in.
@cache
def _select() -> PreparedStatement:
    table = RateLimitCounter.__table__.c
    return PreparedStatement(select(table.window_start, table.used).where(*_in_slots(0)))


@cache
def _delete() -> PreparedStatement:
    return PreparedStatement(delete(RateLimitCounter).where(*_in_slots(0)))


@cache
def _increment(_dialect: str) -> PreparedStatement:
    """Return the statement that counts a use and returns the count of its slot, or no row beyond ``amount``.

    Uses at the same time wait for each other at the row of their slot, so they are counted exactly.
    """
    table = RateLimitCounter.__table__.c
    earlier = select(func.coalesce(func.sum(table.used), 0)).where(*_in_slots(1)).scalar_subquery()
    amount = bindparam("amount", type_=table.used.type)
    row = select(_parameter("of_key"), _parameter("slot_0"), literal(1)).where(earlier < amount)
    statement = (
        insert(RateLimitCounter)
        .from_select(["key", "window_start", "used"], row)
        .on_conflict_do_update(
            index_elements=["key", "window_start"],
            set_={"used": table.used + 1},
            where=table.used + earlier < amount,
        )
    )
    return PreparedStatement(statement.returning(table.used))


def _in_slots(first: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for the rows of a key from its slot ``first`` back."""
    table = RateLimitCounter.__table__.c
    slots = [_parameter(f"slot_{number}") for number in range(first, SLOTS + 1)]
    return table.key == _parameter("of_key"), table.window_start.in_(slots)


def _parameter(name: str) -> BindParameter[Any]:
    table = RateLimitCounter.__table__.c
    return bindparam(name, type_=table.key.type if name == "of_key" else table.window_start.type)
