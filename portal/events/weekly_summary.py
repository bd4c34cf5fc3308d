"""Weekly summaries: owed in batches once an account's week has ended, whoever is restarted meanwhile."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, select

from ..accounts.models import Account
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db, insert
from ..notices import recipients
from ..notices.catalogue import CATALOGUE
from ..outbox.models import Status
from . import weekly_totals, weeks
from .dispatch import record_event
from .models import Week, WeekState
from .types import EventType, Source
from .weekly_totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .weeks import WeekSpan

JOB = "weekly-summary"
MAX_DELAY = timedelta(hours=24)  # a summary of the week before last helps nobody
BATCH_ROWS = 100  # affiliates told in one commit
_MAX_JOBS = 200  # accounts found by one sweep
_WEEKLY = CATALOGUE["weekly-summary"]


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Tell the worker's sweep which accounts have a week to be told of."""
    jobs: list[tuple[str, int]] = []
    for zone in db.session.scalars(select(Account.time_zone).distinct()):
        span = weeks.latest_due_week(now, zone)
        waiting = select(Account.id).where(
            Account.time_zone == zone, Account.created_at < span.ends_at, ~_is_finished(span)
        )
        jobs += [(JOB, ident) for ident in db.session.scalars(waiting.order_by(Account.id).limit(_MAX_JOBS))]
    return jobs[:_MAX_JOBS]


def enqueue_summaries(account_id: int, *, now: datetime) -> None:
    """Owe the summaries of the newest week that is due. Commits after every batch, and goes on where it ended."""
    while _run_batch(account_id, now):
        pass


def _is_finished(span: WeekSpan) -> ColumnElement[bool]:
    row = and_(Week.account_id == Account.id, Week.week == span.name, Week.state != WeekState.PLANNED)
    return exists().where(row)


def _run_batch(account_id: int, now: datetime) -> bool:
    """Take one batch further; return whether there is more. Of two workers, one waits and then goes on."""
    account = db.session.get(Account, account_id)
    if account is None:
        return False
    span = weeks.latest_due_week(now, account.time_zone)
    week = _lock_week(account_id, span)
    more = False
    if week.state is WeekState.PLANNED and now - week.due_at > MAX_DELAY:
        week.state, week.ended_at = WeekState.SKIPPED, now
    elif week.state is WeekState.PLANNED:
        more = _enqueue_batch(account, week, span, now)
    db.session.commit()
    return more


def _lock_week(account_id: int, span: WeekSpan) -> Week:
    """Return the week's row, made on first use and locked."""
    values = {
        "account_id": account_id,
        "week": span.name,
        "starts_at": span.starts_at,
        "ends_at": span.ends_at,
        "due_at": span.due_at,
        "state": WeekState.PLANNED,
        "after_id": 0,
    }
    db.session.execute(insert(Week).values(values).on_conflict_do_nothing())
    query = select(Week).where(Week.account_id == account_id, Week.week == span.name).with_for_update()
    return db.session.scalars(query.execution_options(populate_existing=True)).one()


def _enqueue_batch(account: Account, week: Week, span: WeekSpan, now: datetime) -> bool:
    people = _next_affiliates(account, week) if recipients.is_enabled(account.id, _WEEKLY) else []
    found = weekly_totals.totals_by_affiliate(
        account.id, [one.id for one in people], week.starts_at, week.ends_at
    )
    for affiliate in people:
        _record_for_affiliate(account, affiliate, found.get(affiliate.id) or Totals(), span, now)
    if len(people) == BATCH_ROWS:
        week.after_id = people[-1].id
        return True
    _record_for_owner(account, week, span, now)
    week.state, week.ended_at = WeekState.DONE, now
    return False


def _next_affiliates(account: Account, week: Week) -> Sequence[Affiliate]:
    """Return who is told next: those who took part when the week ended."""
    query = select(Affiliate).where(
        Affiliate.account_id == account.id,
        Affiliate.id > week.after_id,
        Affiliate.state == AffiliateState.ACTIVE,
        Affiliate.created_at < week.ends_at,
    )
    return db.session.scalars(query.order_by(Affiliate.id).limit(BATCH_ROWS)).all()


def _record_for_affiliate(
    account: Account, affiliate: Affiliate, counters: Totals, span: WeekSpan, now: datetime
) -> None:
    record_event(
        account,
        EventType.WEEK_ENDED,
        affiliate,
        summary_values(counters, span),
        key=f"week:{account.id}:{span.name}:{affiliate.id}",
        source=Source.PLANNER,
        now=now,
        nothing_to_tell=counters.nothing,
    )


def _record_for_owner(account: Account, week: Week, span: WeekSpan, now: datetime) -> None:
    start, end = week.starts_at, week.ends_at
    counters = weekly_totals.account_totals(account.id, start, end)
    newcomers = weekly_totals.count_new_affiliates(account.id, start, end)
    sent = weekly_totals.count_settled_emails(account.id, Status.SENT, start, end)
    failed = weekly_totals.count_settled_emails(account.id, Status.FAILED, start, end)
    more = {"new_affiliates": str(newcomers), "emails_sent": str(sent), "emails_failed": str(failed)}
    record_event(
        account,
        EventType.WEEK_ENDED,
        None,
        summary_values(counters, span) | more,
        key=f"week:{account.id}:{span.name}:owner",
        source=Source.PLANNER,
        now=now,
        nothing_to_tell=counters.nothing and not (newcomers or sent or failed),
    )


def summary_values(counters: Totals, span: WeekSpan) -> dict[str, str]:
    """Return what a summary may say."""
    return {
        "week_start": _day(span.first),
        "week_end": _day(span.last),
        "leads": str(counters.leads),
        "purchases": str(counters.purchases),
        "commission_lines": counters.commission_lines,
    }


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
