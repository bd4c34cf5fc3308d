"""What became of an account's messages over a day or a month, and how long acceptance took.

Hours that are over were added up by the worker (``tending.py``), and those of the days before yesterday once more,
into one row that stands at the day's first hour; the hours since are counted live. What waits is counted live as
well, of the newest ``_MOST_WAITING``, for it changes every moment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, case, func, select

from ..db import db
from ..outbox.models import Status
from .models import DeliveryHour, RollMark
from .models import DeliveryLine as Line

if TYPE_CHECKING:
    from collections.abc import Sequence

# How long acceptance took, in seconds: up to each of these, and beyond.
STEPS = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400, 172800)
NO_STEP = -1
HOURS, DAYS, ATTEMPTS = "hours", "days", "attempts"  # the marks of the rollups
SETTLED = (Status.SENT, Status.FAILED)
WAITING = (Status.QUEUED, Status.SENDING, Status.HELD)
SPANS = {"day": timedelta(hours=1), "month": timedelta(days=1)}
_COUNT = {"day": 24, "month": 30}
_MOST_WAITING = 1000


@dataclass(frozen=True)
class Slot:
    """An hour or a day."""

    at: datetime
    sent: int
    failed: int
    waiting: int

    @property
    def total(self) -> int:
        return self.sent + self.failed + self.waiting


@dataclass(frozen=True)
class Figures:
    """The slots, the oldest first, and what they add up to. ``median`` and ``p95`` are in seconds."""

    span: str
    slots: Sequence[Slot]
    waiting: int
    more_waiting: bool
    median: float | None
    p95: float | None

    @property
    def sent(self) -> int:
        return sum(slot.sent for slot in self.slots)

    @property
    def failed(self) -> int:
        return sum(slot.failed for slot in self.slots)


def read(account_id: int, span: str, *, now: datetime) -> Figures:
    """Count an account's messages of the last 24 hours or 30 days."""
    each = SPANS[span]
    start = _floor(now, each) - each * (_COUNT[span] - 1)
    bars: Counter[tuple[datetime, Status]] = Counter()
    steps: Counter[int] = Counter()
    for hour, status, step, count in (*_over(account_id, start, each), *_live(account_id, start)):
        bars[_floor(hour, each), status] += count
        steps[step] += count
    waits, more = _waiting(account_id)
    slots = []
    for number in range(_COUNT[span]):
        at = start + each * number
        owed = sum(count for moment, count in waits if at <= moment < at + each)
        slots.append(Slot(at, bars[at, Status.SENT], bars[at, Status.FAILED], owed))
    total = sum(count for _, count in waits)
    return Figures(span, slots, total, more, quantile(steps, 0.5), quantile(steps, 0.95))


def step_of(seconds: Any) -> Any:
    """The step a number of seconds falls into, as the database works it out."""
    return case(
        (seconds.is_(None), NO_STEP),
        *((seconds <= bound, number) for number, bound in enumerate(STEPS)),
        else_=len(STEPS),
    )


def hour_of(moment: Any) -> Any:
    """The hour a moment lies in, as the database works it out; ``read_hour`` reads it."""
    if db.engine.dialect.name == "postgresql":
        return func.floor(func.extract("epoch", moment) / 3600, type_=Float)
    return func.substr(moment, 1, 13)


def _day_of(moment: Any) -> Any:
    """The first hour of the day a moment lies in."""
    if db.engine.dialect.name == "postgresql":
        return func.floor(func.extract("epoch", moment) / 86400, type_=Float) * 24
    return func.substr(moment, 1, 10) + " 00"


def read_hour(value: Any) -> datetime:
    if isinstance(value, str):
        return datetime.strptime(value, "%Y-%m-%d %H").replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(value) * 3600, tz=UTC)


def quantile(steps: Counter[int], share: float) -> float | None:
    """Return the seconds within which this share was accepted, as exact as the steps are."""
    total = sum(count for step, count in steps.items() if step != NO_STEP)
    seen = 0
    for step in range(len(STEPS) + 1):
        here = steps[step]
        if here and seen + here >= share * total:
            low = STEPS[step - 1] if step else 0.0
            high = STEPS[step] if step < len(STEPS) else STEPS[-1]
            return low + (high - low) * (share * total - seen) / here
        seen += here
    return None


def _over(account_id: int, start: datetime, each: timedelta) -> list[Any]:
    """The hours that were added up. What took how long and what happened when are asked apart: less to fetch."""
    row = DeliveryHour
    mine = (row.account_id == account_id, row.hour >= start)
    unit = (hour_of(row.hour) if each < timedelta(days=1) else _day_of(row.hour)).label("unit")
    hours = select(unit, row.status, func.sum(row.count)).where(*mine).group_by("unit", row.status)
    steps = select(row.step, func.sum(row.count)).where(*mine, row.step != NO_STEP).group_by(row.step)
    counted = [(read_hour(at), status, NO_STEP, int(n)) for at, status, n in db.session.execute(hours)]
    timed = [(start, None, step, int(count)) for step, count in db.session.execute(steps)]
    return counted + timed


def _live(account_id: int, start: datetime) -> list[Any]:
    mark = db.session.get(RollMark, HOURS)
    since = max(start, mark.until) if mark else start
    hour, step = hour_of(Line.settled_at).label("hour"), step_of(Line.seconds).label("step")
    query = select(hour, Line.status, step, func.count()).where(
        Line.account_id == account_id, Line.settled_at >= since, Line.status.in_(SETTLED)
    )
    rows = db.session.execute(query.group_by("hour", Line.status, "step"))
    return [(read_hour(at), status, step, count) for at, status, step, count in rows]


def _waiting(account_id: int) -> tuple[list[tuple[datetime, int]], bool]:
    """What waits, by the hour it was owed in, and whether there is more than was counted."""
    found: Counter[datetime] = Counter()
    more = False
    for status in WAITING:
        some = select(Line.created_at).where(Line.account_id == account_id, Line.status == status)
        some_rows = some.order_by(Line.message_id.desc()).limit(_MOST_WAITING).subquery()
        hour = hour_of(some_rows.c.created_at).label("hour")
        rows = [
            (read_hour(at), n) for at, n in db.session.execute(select(hour, func.count()).group_by("hour"))
        ]
        more = more or sum(count for _, count in rows) == _MOST_WAITING
        found.update(dict(rows))
    return sorted(found.items()), more


def _floor(moment: datetime, each: timedelta) -> datetime:
    day = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return day if each < timedelta(days=1) else day.replace(hour=0)
