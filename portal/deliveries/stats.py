"""Statistics of an account's messages over a day or a month, and how long acceptance took.

Full hours come from the rollup (``rollup.py``), which merges those of past days into one row at the day's first hour;
the hours since its cursor are counted live. Waiting messages are counted live as well, up to the newest
``_MAX_WAITING``, because they change all the time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Float,
    bindparam,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from ..db import db
from ..db.prepared import PreparedStatement, any_of
from ..db.transaction import current_dialect
from ..outbox.models import Status
from .models import DeliveryHour, LogRow, RollupCursor

if TYPE_CHECKING:
    from collections.abc import Sequence

# Upper bounds of the duration steps: how long acceptance took. One more step is beyond the last.
STEPS_S = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400, 172800)
NO_STEP = -1
HOURS, DAYS, ATTEMPTS = "hours", "days", "attempts"  # names of the rollup cursors
SETTLED = (Status.SENT, Status.FAILED)
WAITING = (Status.QUEUED, Status.SENDING, Status.HELD)
SPANS = {"day": timedelta(hours=1), "month": timedelta(days=1)}
_COUNT = {"day": 24, "month": 30}
_MAX_WAITING = 1000
_CURSOR = PreparedStatement(select(RollupCursor.until).where(RollupCursor.name == bindparam("name")))


@dataclass(frozen=True)
class Bucket:
    """An hour or a day."""

    at: datetime
    sent: int
    failed: int
    waiting: int

    @property
    def total(self) -> int:
        return self.sent + self.failed + self.waiting


@dataclass(frozen=True)
class Stats:
    """The buckets, oldest first, and their totals. ``median`` and ``p95`` are in seconds."""

    span: str
    buckets: Sequence[Bucket]
    waiting: int
    more_waiting: bool
    median: float | None
    p95: float | None

    @property
    def sent(self) -> int:
        return sum(bucket.sent for bucket in self.buckets)

    @property
    def failed(self) -> int:
        return sum(bucket.failed for bucket in self.buckets)


def read(account_id: int, span: str, *, now: datetime) -> Stats:
    """Return an account's statistics of the last 24 hours or 30 days."""
    each = SPANS[span]
    start = _floor(now, each) - each * (_COUNT[span] - 1)
    counts: Counter[tuple[datetime, Status]] = Counter()
    steps: Counter[int] = Counter()
    for hour, status, step, count in (*_rolled_up(account_id, start, each), *_live(account_id, start)):
        counts[_floor(hour, each), status] += count
        steps[step] += count
    waits, more = _waiting(account_id, start, each)
    buckets = [
        Bucket(at, counts[at, Status.SENT], counts[at, Status.FAILED], waits[at])
        for at in (start + each * number for number in range(_COUNT[span]))
    ]
    return Stats(span, buckets, waits.total(), more, quantile(steps, 0.5), quantile(steps, 0.95))


def count_sent(account_id: int, since: datetime) -> int:
    """Return how many messages of an account were accepted since a midnight in UTC."""
    return count_settled(account_id, since)[Status.SENT]


def count_settled(account_id: int, since: datetime) -> Counter[Status]:
    """Return how many messages of an account were accepted and how many failed, since a midnight in UTC."""
    row, cursor = DeliveryHour, db.session.get(RollupCursor, HOURS)
    rolled_up = select(row.status, func.sum(row.count)).where(
        row.account_id == account_id, row.hour >= since, row.status.in_(SETTLED)
    )
    live = select(LogRow.status, func.count()).where(
        LogRow.account_id == account_id,
        LogRow.settled_at >= (max(since, cursor.until) if cursor else since),
        LogRow.status.in_(SETTLED),
    )
    found: Counter[Status] = Counter()
    for status, count in (
        *db.session.execute(rolled_up.group_by(row.status)),
        *db.session.execute(live.group_by(LogRow.status)),
    ):
        found[status] += int(count)
    return found


def step_expression(seconds: Any) -> Any:
    """Return the SQL expression for the duration step of a number of seconds."""
    return case(
        (seconds.is_(None), NO_STEP),
        *((seconds <= bound, number) for number, bound in enumerate(STEPS_S)),
        else_=len(STEPS_S),
    )


def hour_expression(moment: Any) -> Any:
    """Return the SQL expression for the hour of a time; ``parse_hour`` reads its result."""
    if db.engine.dialect.name == "postgresql":
        return func.floor(func.extract("epoch", moment) / 3600, type_=Float)
    return func.substr(moment, 1, 13)


def _day_expression(moment: Any) -> Any:
    """Return the SQL expression for the first hour of a time's day."""
    if db.engine.dialect.name == "postgresql":
        return func.floor(func.extract("epoch", moment) / 86400, type_=Float) * 24
    return func.substr(moment, 1, 10) + " 00"


def parse_hour(value: Any) -> datetime:
    """Return the hour that ``hour_expression`` describes."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(value) * 3600, tz=UTC)


def quantile(steps: Counter[int], share: float) -> float | None:
    """Return the seconds within which this share was accepted, interpolated within its step."""
    total = sum(count for step, count in steps.items() if step != NO_STEP)
    seen = 0
    for step in range(len(STEPS_S) + 1):
        here = steps[step]
        if here and seen + here >= share * total:
            low = STEPS_S[step - 1] if step else 0.0
            high = STEPS_S[step] if step < len(STEPS_S) else STEPS_S[-1]
            return low + (high - low) * (share * total - seen) / here
        seen += here
    return None


def _rolled_up(account_id: int, start: datetime, each: timedelta) -> list[Any]:
    """Return the rolled-up counts by hour, and apart from them by step, which is less to fetch than by both."""
    hours, steps = _rolled_up_statements(current_dialect(), each < timedelta(days=1))
    mine: dict[str, Any] = {"account": account_id, "start": start}
    counted = [(parse_hour(at), status, NO_STEP, int(n)) for at, status, n in hours.all(**mine)]
    timed = [(start, None, step, int(count)) for step, count in steps.all(**mine)]
    return counted + timed


@cache
def _rolled_up_statements(
    _dialect: str,
    by_hour: bool,  # noqa: FBT001 - a key
) -> tuple[PreparedStatement, PreparedStatement]:
    row = DeliveryHour
    mine = (row.account_id == bindparam("account"), row.hour >= bindparam("start"))
    unit = (hour_expression(row.hour) if by_hour else _day_expression(row.hour)).label("unit")
    hours = select(unit, row.status, func.sum(row.count)).where(*mine).group_by("unit", row.status)
    steps = select(row.step, func.sum(row.count)).where(*mine, row.step != NO_STEP).group_by(row.step)
    return PreparedStatement(hours), PreparedStatement(steps)


def _live(account_id: int, start: datetime) -> list[Any]:
    """Return the counts of the hours after the rollup's cursor."""
    (until,) = _CURSOR.first(name=HOURS) or (start,)
    rows = _live_statement(current_dialect()).all(account=account_id, since=max(start, until))
    return [(parse_hour(at), status, step, count) for at, status, step, count in rows]


@cache
def _live_statement(_dialect: str) -> PreparedStatement:
    hour, step = (
        hour_expression(LogRow.settled_at).label("hour"),
        step_expression(LogRow.seconds).label("step"),
    )
    query = select(hour, LogRow.status, step, func.count()).where(
        LogRow.account_id == bindparam("account"),
        LogRow.settled_at >= bindparam("since"),
        any_of(LogRow.status, SETTLED),
    )
    return PreparedStatement(query.group_by("hour", LogRow.status, "step"))


def _waiting(account_id: int, start: datetime, each: timedelta) -> tuple[Counter[datetime], bool]:
    """Return the waiting messages by the hour or day of their creation, and whether there are more than were counted.

    Those from before ``start`` are at one time before it.
    """
    found: Counter[datetime] = Counter()
    of_status: Counter[int] = Counter()
    statement = _waiting_statement(current_dialect(), each < timedelta(days=1))
    for place, at, count in statement.all(account=account_id, start=start):
        found[parse_hour(at) if at is not None else start - each] += count
        of_status[place] += count
    return found, max(of_status.values(), default=0) == _MAX_WAITING


@cache
def _waiting_statement(_dialect: str, by_hour: bool) -> PreparedStatement:  # noqa: FBT001 - a key
    """Return the statement that counts for each status; a page runs it once, and building it takes longest."""
    counts = []
    start = bindparam("start", type_=LogRow.created_at.type)
    for place, status in enumerate(WAITING):
        some = select(LogRow.created_at).where(
            LogRow.account_id == bindparam("account"), LogRow.status == status
        )
        some_rows = some.order_by(LogRow.message_id.desc()).limit(_MAX_WAITING).subquery()
        at = some_rows.c.created_at
        unit = case((at >= start, hour_expression(at) if by_hour else _day_expression(at))).label("unit")
        counts.append(select(literal_column(str(place)), unit, func.count()).group_by("unit"))
    return PreparedStatement(union_all(*counts))


def _floor(moment: datetime, each: timedelta) -> datetime:
    day = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return day if each < timedelta(days=1) else day.replace(hour=0)
