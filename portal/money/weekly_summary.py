"""Weekly summaries, queued in batches after an account's week has ended. A restarted job continues where it stopped."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, bindparam, exists, select, update

from .. import audit
from ..accounts.models import Account
from ..affiliates import directory
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..events import weeks
from ..events.dispatch import NewEvent, record_event
from ..events.models import EmailDecision, Week, WeekState
from ..events.types import EventType, Source
from ..jobs import notify
from ..notices import recipients, texts
from ..notices.catalogue import CATALOGUE
from ..outbox.models import Status
from ..web.translations import speaking, speaking_to
from . import weekly_totals
from .models import LedgerEntry
from .weekly_totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..events.weeks import WeekSpan

JOB = "weekly-summary"
MAX_DELAY = timedelta(hours=24)  # after that the summary of the week is skipped
BATCH_ROWS = 100  # affiliates in one commit
_MAX_JOBS = 200  # accounts found by one sweep
_WEEKLY = CATALOGUE["weekly-summary"]
_NEWEST = PreparedStatement(
    select(Week.id, Week.state)
    .where(Week.account_id == bindparam("account_id"))
    .order_by(Week.starts_at.desc())
    .limit(1)
)


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Return a job for each account whose week is due and not finished."""
    jobs: list[tuple[str, int]] = []
    for zone in db.session.scalars(select(Account.time_zone).distinct()):
        span = weeks.latest_due_week(now, zone)
        waiting = select(Account.id).where(
            Account.time_zone == zone, Account.created_at < span.ends_at, ~_is_finished(span)
        )
        account_ids = db.session.scalars(waiting.order_by(Account.id).limit(_MAX_JOBS))
        jobs += [(JOB, account_id) for account_id in account_ids]
    return jobs[:_MAX_JOBS]


def enqueue_summaries(account_id: int, *, now: datetime) -> None:
    """Queue the summaries of the newest due week. Commits after every batch."""
    while _run_batch(account_id, now):
        pass


def find_skipped(account_id: int) -> Week | None:
    """Return the account's newest week, if its summaries were skipped although there were events to report."""
    newest = _NEWEST.first(account_id=account_id)
    if newest is None or newest[1] is not WeekState.SKIPPED:
        return None
    week = db.session.get_one(Week, newest[0])
    happened = exists().where(
        LedgerEntry.account_id == account_id,
        LedgerEntry.week.is_(None),
        LedgerEntry.occurred_at < week.ends_at,
    )
    return week if db.session.scalar(select(happened)) else None


def send_skipped(account_id: int, week_id: int, *, now: datetime) -> bool:
    """Queue the summaries of a skipped week after all; return False if that is no longer possible. Commits."""
    week = find_skipped(account_id)
    can_send = week is not None and week.id == week_id
    if week is not None and can_send:
        db.session.refresh(week, with_for_update=True)
        can_send = week.state is WeekState.SKIPPED
    if week is not None and can_send:
        week.state, week.due_at, week.ended_at = WeekState.PLANNED, now, None
        audit.record(audit.Activity.SKIPPED_WEEK_SENT, account_id, target=audit.AuditTarget("week", week_id))
        notify.push_after_commit(JOB, account_id)
    db.session.commit()
    return can_send


def _is_finished(span: WeekSpan) -> ColumnElement[bool]:
    row = and_(Week.account_id == Account.id, Week.week == span.name, Week.state != WeekState.PLANNED)
    return exists().where(row)


def _run_batch(account_id: int, now: datetime) -> bool:
    """Process one batch; return whether there is another. The row lock of the week serializes concurrent workers."""
    account = db.session.get(Account, account_id)
    if account is None:
        return False
    span = weeks.latest_due_week(now, account.time_zone)
    week = _lock_week(account_id, span)
    has_more = False
    if week.state is WeekState.PLANNED and now - week.due_at > MAX_DELAY:
        week.state, week.ended_at = WeekState.SKIPPED, now
    elif week.state is WeekState.PLANNED:
        has_more = _enqueue_batch(account, week, span, now)
    db.session.commit()
    return has_more


def _lock_week(account_id: int, span: WeekSpan) -> Week:
    """Return the locked row of the week, created on first use."""
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
    if not week.after_id:
        _name_entries(account.id, week)
    affiliates = _next_affiliates(account, week) if recipients.is_enabled(account.id, _WEEKLY) else []
    found = weekly_totals.totals_by_affiliate(
        account.id, [one.id for one in affiliates], week.week, week.starts_at, account.time_zone
    )
    for affiliate in directory.keep(affiliates):
        with speaking(_language_for(account, affiliate)):
            _record_for_affiliate(account, affiliate, found.get(affiliate.id) or Totals(), span, now)
    if len(affiliates) == BATCH_ROWS:
        week.after_id = affiliates[-1].id
        return True
    with speaking_to(recipients.owner_language(account)):
        _record_for_owner(account, week, span, now)
    week.state, week.ended_at = WeekState.DONE, now
    return False


def _name_entries(account_id: int, week: Week) -> None:
    """Give the week what happened before its end and no summary has named, so that each entry is named once.

    What is reported later for this week is named in the next summary.
    """
    statement = update(LedgerEntry).where(
        LedgerEntry.account_id == account_id,
        LedgerEntry.week.is_(None),
        LedgerEntry.occurred_at < week.ends_at,
    )
    db.session.execute(statement.values(week=week.week).execution_options(synchronize_session=False))


def _next_affiliates(account: Account, week: Week) -> Sequence[Affiliate]:
    """Return the next batch of active affiliates who had joined when the week ended."""
    query = select(Affiliate).where(
        Affiliate.account_id == account.id,
        Affiliate.id > week.after_id,
        Affiliate.state == AffiliateState.ACTIVE,
        Affiliate.created_at < week.ends_at,
    )
    return db.session.scalars(query.order_by(Affiliate.id).limit(BATCH_ROWS)).all()


def _language_for(account: Account, affiliate: Affiliate) -> str:
    chosen = affiliate.language
    return texts.current_text(account, _WEEKLY, chosen).language if chosen else account.language


def _record_for_affiliate(
    account: Account, affiliate: Affiliate, totals: Totals, span: WeekSpan, now: datetime
) -> None:
    values = summary_values(totals, span)
    withheld = EmailDecision.NOTHING_TO_TELL if totals.is_empty else EmailDecision.QUEUED
    new = NewEvent(account, EventType.WEEK_ENDED, affiliate, values, withheld)
    record_event(new, key=f"week:{account.id}:{span.name}:{affiliate.id}", source=Source.PLANNER, now=now)


def _record_for_owner(account: Account, week: Week, span: WeekSpan, now: datetime) -> None:
    start, end = week.starts_at, week.ends_at
    totals = weekly_totals.account_totals(account.id, week.week, start, account.time_zone)
    joined = weekly_totals.count_new_affiliates(account.id, start, end)
    sent = weekly_totals.count_settled_emails(account.id, Status.SENT, start, end)
    failed = weekly_totals.count_settled_emails(account.id, Status.FAILED, start, end)
    more = {"new_affiliates": str(joined), "emails_sent": str(sent), "emails_failed": str(failed)}
    is_empty = totals.is_empty and not (joined or sent or failed)
    values = summary_values(totals, span) | more
    withheld = EmailDecision.NOTHING_TO_TELL if is_empty else EmailDecision.QUEUED
    new = NewEvent(account, EventType.WEEK_ENDED, None, values, withheld)
    record_event(new, key=f"week:{account.id}:{span.name}:owner", source=Source.PLANNER, now=now)


def summary_values(totals: Totals, span: WeekSpan) -> dict[str, str]:
    """Return the template variables that every weekly summary has."""
    return {
        "week_start": span.first.isoformat(),
        "week_end": span.last.isoformat(),
    } | totals.values
