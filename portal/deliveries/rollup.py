"""The worker's housekeeping for the log: hours and days that are over are added up, and what is old goes.

Each step is small and commits, so that nobody waits for it. Messages that are still owed are never touched.
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
from .models import AttemptTotal, DeliveryHour, RollMark
from .models import DeliveryLine as Line
from .stats import ATTEMPTS, DAYS, HOURS, NO_STEP, SETTLED, hour_of, read_hour, step_of

if TYPE_CHECKING:
    from collections.abc import Collection

JOB = "rollup"
PRUNED = "pruned"  # the mark that says when to look for old messages again
_ROUNDS = 20  # steps in one job
_HOUR = timedelta(hours=1)
_SURE = timedelta(minutes=10)  # by then whatever was settled within an hour is committed
_AT_ONCE = timedelta(days=1)
_LOOK_AGAIN = timedelta(minutes=10)
_OF_DAY = ("account_id", "status", "step")
OTHER = "other"  # a server of no provider in the catalogue


def due(now: datetime) -> list[tuple[str, int]]:
    """Return the job if an hour is over or old messages are to be looked for."""
    marks = {mark.name: mark.until for mark in db.session.scalars(select(RollMark))}
    rolled = min(marks.get(name, datetime.min.replace(tzinfo=UTC)) for name in (HOURS, ATTEMPTS))
    look = marks.get(PRUNED)
    return [(JOB, 0)] if rolled < _closed(now) or look is None or look <= now else []


def tend() -> None:
    """Do some of what is due, and ask for another turn if that was not all."""
    more = True
    for _ in range(_ROUNDS):
        more = roll(utcnow())
        if not more:
            break
    for _ in range(_ROUNDS):
        found = clean_up(utcnow())
        if not found:
            break
    else:
        more = True
    if more:
        notify.push(JOB, 0)


def roll(now: datetime) -> bool:
    """Add up what happened up to a day further, of hours that are over. Commits. Return whether there is more."""
    over = _closed(now)
    more = _roll(HOURS, func.min(Line.settled_at), _roll_hours, over)
    more = _roll(ATTEMPTS, func.min(DeliveryAttempt.started_at), _roll_attempts, over) or more
    return _roll(DAYS, func.min(DeliveryHour.hour), _merge_days, _past(over)) or more


def clean_up(now: datetime) -> int:
    """Remove one batch of what is past its retention, and hours older than 800 days. Commits. Return the count of messages."""
    found = retention.prune(now)
    _set_mark(PRUNED, now if found else now + _LOOK_AGAIN)
    db.session.execute(delete(DeliveryHour).where(DeliveryHour.hour < now - timedelta(days=800)))
    db.session.commit()
    return found


def _closed(now: datetime) -> datetime:
    return (now - _SURE).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _past(over: datetime) -> datetime:
    """The end of the days whose hours nobody looks at any more: they were added up, and are a day old or more."""
    mark = db.session.get(RollMark, HOURS)
    return (min(over, mark.until if mark else over) - _AT_ONCE).replace(hour=0)


def _roll(name: str, first: Any, deed: Any, end: datetime) -> bool:
    """Do a deed for up to a day of what ends at ``end`` and was not done yet. Commits. Return whether there is more."""
    over = end
    mark = db.session.get(RollMark, name, with_for_update=True, populate_existing=True)
    start = mark.until if mark else db.session.scalar(select(first))
    start = start.replace(minute=0, second=0, microsecond=0) if start else end
    if start < end:
        end = min(end, start + _AT_ONCE)
        deed(start, end)
    _set_mark(name, max(start, end))
    db.session.commit()
    return start < end < over


def _set_mark(name: str, until: datetime) -> None:
    statement = insert(RollMark).values(name=name, until=until)
    db.session.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"until": until}))
    db.session.expire_all()


def _roll_hours(start: datetime, end: datetime) -> None:
    hour, step = hour_of(Line.settled_at).label("hour"), step_of(Line.seconds).label("step")
    for account in db.session.scalars(select(Account.id)).all():
        query = select(hour, Line.status, step, func.count()).where(
            Line.account_id == account,
            Line.settled_at >= start,
            Line.settled_at < end,
            Line.status.in_(SETTLED),
        )
        rows = [
            {"account_id": account, "hour": read_hour(at), "status": status, "step": step, "count": count}
            for at, status, step, count in db.session.execute(query.group_by("hour", Line.status, "step"))
        ]
        if rows:
            db.session.execute(insert(DeliveryHour).on_conflict_do_nothing(), rows)


def _merge_days(start: datetime, end: datetime) -> None:
    """Make one hour of each day's: of what is past only days are shown, so there is less to add up. Safe to repeat."""
    day, row = start.replace(hour=0), DeliveryHour
    while day < end:
        hours = delete(row).where(row.hour >= day, row.hour < day + _AT_ONCE)
        gone = hours.returning(row.account_id, row.status, row.step, row.count)
        total: Counter[tuple[int, Status, int]] = Counter()
        for account, status, step, count in db.session.execute(
            gone, execution_options={"synchronize_session": False}
        ):
            total[account, status, step] += count
        rows = [dict(zip(_OF_DAY, key, strict=True)) | {"hour": day, "count": n} for key, n in total.items()]
        if rows:
            db.session.execute(insert(row), rows)
        day += _AT_ONCE


def _roll_attempts(start: datetime, end: datetime) -> None:
    for row in count_attempts(start, end):
        statement = insert(AttemptTotal).values(row)
        added = {name: getattr(AttemptTotal, name) + row[name] for name in ("count", "seconds")}
        keys = ["provider", "outcome", "stage", "step"]
        db.session.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))


def count_attempts(start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
    """Count the attempts that began in between and have ended, by provider, outcome, stage and step."""
    one = DeliveryAttempt
    accepted = one.outcome == Outcome.ACCEPTED
    seconds = func.coalesce(Line.seconds, 0.0)
    step = step_of(Line.seconds).label("step")
    query = select(one.server, one.outcome, one.stage, accepted, step, func.count(), func.sum(seconds))
    query = query.outerjoin(Line, Line.message_id == one.message_id).where(one.outcome != Outcome.STARTED)
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
    return card.id if card else OTHER
