"""Rate limits of an account's mail: token buckets by the owner's limits, and throttling when the server demands it.

A limit is a token bucket that fills evenly: a tenth of it may be sent at once, the rest is spread over its period, so no
more than the limit is sent in any period of that length. The buckets are stored in the table and filled by the
database's clock, so all machines share them. An account without a row has no limit and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Float, func, select
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, db, insert
from ..state import current_config
from .models import DeliveryAttempt, OutboxMessage, Outcome, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


class SendingRate(Base):
    """The limits of one account."""

    __tablename__ = "sending_rate"
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    per_second: Mapped[int | None]
    per_hour: Mapped[int | None]
    per_day: Mapped[int | None]
    second_full_at: Mapped[datetime | None]  # when the bucket is full again; in the past: it is full
    hour_full_at: Mapped[datetime | None]
    day_full_at: Mapped[datetime | None]
    # Throttling: emails per minute, since when, and the speed that the server refused.
    slowed_to: Mapped[float | None] = mapped_column(Float)
    slowed_at: Mapped[datetime | None]
    slowed_from: Mapped[float | None] = mapped_column(Float)
    slow_full_at: Mapped[datetime | None]
    goes_on_at: Mapped[datetime | None]  # when a limit that was reached allows the next email


@dataclass(frozen=True)
class _Bucket:
    """A token bucket: ``limit`` emails in each ``span``; ``column`` has the time at which it is full again."""

    column: str
    limit: float
    span: timedelta
    burst: int

    @classmethod
    def create(cls, column: str, limit: float, span: timedelta) -> _Bucket:
        burst = int(limit * current_config().tuning.rate_limit_burst_fraction)
        return cls(column, limit, span, max(1, burst))

    @property
    def interval(self) -> timedelta:
        """The time in which one token is added."""
        return self.span / max(1.0, self.limit - self.burst) if self.limit > 1 else self.span / self.limit

    def remaining(self, full_at: datetime | None, now: datetime) -> int:
        missing = max(timedelta(), (full_at or now) - now)
        return max(0, int(self.burst - missing / self.interval + 1e-6))

    def next_at(self, full_at: datetime | None, now: datetime) -> datetime:
        """Return when one email may be sent; not before ``now``."""
        return max(now, (full_at or now) - (self.burst - 1) * self.interval)


def get_limits(account_id: int) -> SendingRate | None:
    """Return the account's limits, if it has any."""
    return db.session.get(SendingRate, account_id)


def set_limits(account_id: int, per_second: int | None, per_hour: int | None, per_day: int | None) -> None:
    """Set the account's limits; None means no limit. Commits."""
    row = _row(account_id)
    row.per_second, row.per_hour, row.per_day = per_second, per_hour, per_day
    row.goes_on_at = None
    db.session.commit()


def resumes_at(account_id: int) -> datetime | None:
    """Return when a limit that was reached allows the next email; None if no limit was reached."""
    return db.session.scalar(select(SendingRate.goes_on_at).where(SendingRate.account_id == account_id))


def gate(queue: Queue, now: datetime) -> int | None:
    """Return how many emails of a queue may be sent now; None if there is no limit. Consumes nothing."""
    row = db.session.get(SendingRate, queue.account_id, with_for_update=True, populate_existing=True)
    buckets = list(_buckets(row, now)) if row is not None else []
    return min((one.remaining(getattr(row, one.column), now) for one in buckets), default=None)


def seconds_until_allowed(account_id: int, now: datetime) -> float:
    """Return in how many seconds the next email may be sent; 0 if it may be now. Uses the row that ``gate`` locked."""
    row = db.session.get(SendingRate, account_id)
    return max(0.0, (_next_at(row, now) - now).total_seconds()) if row is not None else 0.0


def consume(account_id: int, count: int, now: datetime) -> None:
    """Consume tokens for claimed messages, in the transaction in which ``gate`` was called.

    If a limit is reached, the row stores when the next email may be sent, for the pages.
    """
    row = db.session.get(SendingRate, account_id)
    if row is None or not count:
        return
    for one in _buckets(row, now):
        setattr(row, one.column, max(getattr(row, one.column) or now, now) + count * one.interval)
    next_at = _next_at(row, now)
    row.goes_on_at = next_at if next_at > now else None


def throttle(account_id: int, now: datetime) -> None:
    """Halve the speed because the server refused it; it recovers by itself. The caller commits."""
    row, tuning = _row(account_id), current_config().tuning
    speed = _throttled_per_minute(row, now) or _measured_per_minute(account_id, now)
    if row.slowed_at is not None and row.slowed_at > now - timedelta(seconds=tuning.throttle_repeat_s):
        return  # this refusal concerns messages that were sent before the last throttling
    row.slowed_from = max(speed, row.slowed_from or 0) if _throttled_per_minute(row, now) else speed
    row.slowed_to, row.slowed_at = max(tuning.throttle_min_per_minute, speed / 2), now


def _next_at(row: SendingRate, now: datetime) -> datetime:
    found = (one.next_at(getattr(row, one.column), now) for one in _buckets(row, now))
    return max(found, default=now)


def _buckets(row: SendingRate, now: datetime) -> Iterator[_Bucket]:
    chosen = (
        ("second_full_at", row.per_second, SECOND),
        ("hour_full_at", row.per_hour, HOUR),
        ("day_full_at", row.per_day, DAY),
        ("slow_full_at", _throttled_per_minute(row, now), MINUTE),
    )
    return (_Bucket.create(column, limit, span) for column, limit, span in chosen if limit)


def _throttled_per_minute(row: SendingRate, now: datetime) -> float | None:
    """Return the throttled speed in emails a minute; None if throttling is over."""
    if row.slowed_to is None or row.slowed_at is None:
        return None
    recovery = timedelta(seconds=current_config().tuning.throttle_recovery_s)
    doublings = max(timedelta(), now - row.slowed_at) / recovery
    speed = row.slowed_to * 2 ** min(doublings, 32)
    return speed if speed < 2 * (row.slowed_from or 0) else None


def _measured_per_minute(account_id: int, now: datetime) -> float:
    """Return how many emails the server accepted within the last minute."""
    query = (
        select(func.count())
        .select_from(DeliveryAttempt)
        .join(OutboxMessage, OutboxMessage.id == DeliveryAttempt.message_id)
        .where(
            OutboxMessage.account_id == account_id,
            DeliveryAttempt.started_at > now - MINUTE,
            DeliveryAttempt.outcome == Outcome.ACCEPTED,
        )
    )
    return max(current_config().tuning.throttle_default_per_minute, float(db.session.scalar(query) or 0))


def _row(account_id: int) -> SendingRate:
    db.session.execute(insert(SendingRate).values(account_id=account_id).on_conflict_do_nothing())
    return db.session.get_one(SendingRate, account_id, with_for_update=True, populate_existing=True)
