"""The periodic rollup: adds up full hours and days for the statistics and metrics, and runs the retention.

Each step is small and commits, so that no request waits for it.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from ..accounts.models import Account
from ..clock import utcnow
from ..db import db, insert
from ..jobs import notify
from ..outbox.models import DeliveryAttempt, Outcome, Status
from ..smtp.providers import load_catalogue
from . import retention
from .models import AttemptTotal, DeliveryHour, LogRow, RollupCursor
from .stats import ATTEMPTS, DAYS, HOURS, NO_STEP, SETTLED, hour_expression, parse_hour, step_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

JOB = "rollup"
PRUNE_CURSOR = "pruned"  # its time is when to look for expired messages again
_STEPS_PER_JOB = 20
_HOUR = timedelta(hours=1)
_COMMIT_MARGIN = timedelta(minutes=10)  # by then every message settled within an hour is committed
_DAY = timedelta(days=1)
_PRUNE_PAUSE = timedelta(minutes=10)
_DAY_KEYS = ("account_id", "status", "step")
OTHER_PROVIDER = "other"  # the label of servers that match no provider card


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the job if an hour is full or expired messages are to be looked for."""
    cursors = {cursor.name: cursor.until for cursor in db.session.scalars(select(RollupCursor))}
    rolled_up = min(cursors.get(name, datetime.min.replace(tzinfo=UTC)) for name in (HOURS, ATTEMPTS))
    prune_at = cursors.get(PRUNE_CURSOR)
    return [(JOB, 0)] if rolled_up < _last_full_hour(now) or prune_at is None or prune_at <= now else []


def run_maintenance() -> None:
    """Do some of what is due, and push another job if that was not all. Commits each step."""
    more = True
    for _ in range(_STEPS_PER_JOB):
        more = roll_up(utcnow())
        if not more:
            break
    for _ in range(_STEPS_PER_JOB):
        found = clean_up(utcnow())
        if not found:
            break
    else:
        more = True
    if more:
        notify.push(JOB, 0)


def roll_up(now: datetime) -> bool:
    """Add up at most one more day of full hours; return whether there is more. Commits."""
    over = _last_full_hour(now)
    more = _advance(HOURS, func.min(LogRow.settled_at), _roll_hours, over)
    more = _advance(ATTEMPTS, func.min(DeliveryAttempt.started_at), _roll_attempts, over) or more
    return _advance(DAYS, func.min(DeliveryHour.hour), _merge_days, _mergeable_until(over)) or more


def clean_up(now: datetime) -> int:
    """Remove one batch of expired messages, and hours older than 800 days; return the number of messages. Commits."""
    found = retention.prune(now)
    _set_cursor(PRUNE_CURSOR, now if found else now + _PRUNE_PAUSE)
    db.session.execute(delete(DeliveryHour).where(DeliveryHour.hour < now - timedelta(days=800)))
    db.session.commit()
    return found


def _last_full_hour(now: datetime) -> datetime:
    return (now - _COMMIT_MARGIN).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _mergeable_until(over: datetime) -> datetime:
    """Return the end of the days whose hours no page shows: they are rolled up and at least a day old."""
    cursor = db.session.get(RollupCursor, HOURS)
    return (min(over, cursor.until if cursor else over) - _DAY).replace(hour=0)


def _advance(name: str, first: Any, step: Callable[[datetime, datetime], None], end: datetime) -> bool:
    """Run ``step`` for up to a day of what is not rolled up before ``end``; return whether there is more. Commits."""
    over = end
    cursor = db.session.get(RollupCursor, name, with_for_update=True, populate_existing=True)
    start = cursor.until if cursor else db.session.scalar(select(first))
    start = start.replace(minute=0, second=0, microsecond=0) if start else end
    if start < end:
        end = min(end, start + _DAY)
        step(start, end)
    _set_cursor(name, max(start, end))
    db.session.commit()
    return start < end < over


def _set_cursor(name: str, until: datetime) -> None:
    statement = insert(RollupCursor).values(name=name, until=until)
    db.session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"until": until}))
    db.session.expire_all()


def _roll_hours(start: datetime, end: datetime) -> None:
    hour, step = (
        hour_expression(LogRow.settled_at).label("hour"),
        step_expression(LogRow.seconds).label("step"),
    )
    settled = (LogRow.settled_at >= start, LogRow.settled_at < end)
    has_settled = select(LogRow.message_id).where(LogRow.account_id == Account.id, *settled).exists()
    for account in db.session.scalars(select(Account.id).where(has_settled)).all():
        query = select(hour, LogRow.status, step, func.count()).where(
            LogRow.account_id == account, *settled, LogRow.status.in_(SETTLED)
        )
        rows = [
            {"account_id": account, "hour": parse_hour(at), "status": status, "step": step, "count": count}
            for at, status, step, count in db.session.execute(query.group_by("hour", LogRow.status, "step"))
        ]
        if rows:
            db.session.execute(insert(DeliveryHour).on_conflict_do_nothing(), rows)


def _merge_days(start: datetime, end: datetime) -> None:
    """Merge the hours of each day into one row, because past days are shown as a whole. Safe to repeat."""
    day, row = start.replace(hour=0), DeliveryHour
    while day < end:
        hours = delete(row).where(row.hour >= day, row.hour < day + _DAY)
        gone = hours.returning(row.account_id, row.status, row.step, row.count)
        total: Counter[tuple[int, Status, int]] = Counter()
        for account, status, step, count in db.session.execute(
            gone, execution_options={"synchronize_session": False}
        ):
            total[account, status, step] += count
        rows = [
            dict(zip(_DAY_KEYS, key, strict=True)) | {"hour": day, "count": n} for key, n in total.items()
        ]
        if rows:
            db.session.execute(insert(row), rows)
        day += _DAY


def _roll_attempts(start: datetime, end: datetime) -> None:
    for row in count_attempts(start, end):
        statement = insert(AttemptTotal).values(row)
        added = {name: getattr(AttemptTotal, name) + row[name] for name in ("count", "seconds")}
        keys = ["provider", "outcome", "stage", "step"]
        db.session.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))


def count_attempts(start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
    """Count the ended attempts that began in between, by provider, outcome, stage and duration step."""
    one = DeliveryAttempt
    accepted = one.outcome == Outcome.ACCEPTED
    seconds = func.coalesce(LogRow.seconds, 0.0)
    step = step_expression(LogRow.seconds).label("step")
    query = select(one.server, one.outcome, one.stage, accepted, step, func.count(), func.sum(seconds))
    query = query.outerjoin(LogRow, LogRow.message_id == one.message_id).where(one.outcome != Outcome.STARTED)
    if start is not None:
        query = query.where(one.started_at >= start)
    if end is not None:
        query = query.where(one.started_at < end)
    rows = db.session.execute(query.group_by(one.server, one.outcome, one.stage, accepted, "step"))
    return _by_provider(rows.all())


def _by_provider(rows: Collection[Any]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str, int], tuple[int, float]] = {}
    for server, outcome, stage, accepted, step, count, seconds in rows:
        key = (_provider(server), outcome.value, stage, step if accepted else NO_STEP)
        number, total = found.get(key, (0, 0.0))
        found[key] = (number + count, total + (float(seconds) if accepted else 0.0))
    names = ("provider", "outcome", "stage", "step")
    return [
        dict(zip(names, key, strict=True)) | {"count": count, "seconds": seconds}
        for key, (count, seconds) in found.items()
    ]


def _provider(server: str) -> str:
    card = load_catalogue().by_host(server.rpartition(":")[0])
    return card.id if card else OTHER_PROVIDER
