"""Weekly summaries are queued once, on Monday at nine in the account's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal.affiliates.models import AffiliateState
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup, signup_rules
from portal.events import weekly_summary, weeks
from portal.events.dispatch import NewEvent, record_event
from portal.events.models import EmailDecision, Event, EventMail, Week, WeekState
from portal.events.types import EventType, Source
from portal.notices import branding
from tests.enrolment.support import account_of, messages, newest_affiliate, sign_up

pytestmark = pytest.mark.both_databases

# A Wednesday. Daylight saving time ends on the next Sunday in Europe, and a week later in America.
WEDNESDAY = "2026-10-21 12:00:00+00:00"


@pytest.fixture(autouse=True)
def _wednesday():
    with time_machine.travel(WEDNESDAY, tick=False):
        yield


@pytest.fixture(autouse=True)
def address(owner):
    """Brightleaf's postal address, without which no summary to an affiliate leaves."""
    branding.save_address(account_of(), "1 Garden Lane", without=False, now=utcnow())


def _weeks():
    db.session.rollback()
    return {row.week: row.state for row in db.session.scalars(select(Week).order_by(Week.id))}


def _summaries():
    query = select(EventMail.kind, EventMail.decision).join(Event, Event.id == EventMail.event_id)
    return sorted(db.session.execute(query.where(Event.type == EventType.WEEK_ENDED)).all())


@pytest.mark.parametrize(
    ("zone", "due"),
    [
        ("UTC", "2026-10-26T09:00"),
        ("Europe/Berlin", "2026-10-26T08:00"),  # standard time since Sunday
        ("America/New_York", "2026-10-26T13:00"),  # still daylight saving time
        ("Australia/Sydney", "2026-10-25T22:00"),
        ("Mars/Olympus", "2026-10-26T09:00"),
    ],
)
def test_a_week_is_due_on_monday_at_nine_in_the_accounts_time_zone(zone, due):
    moment = datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert weeks.latest_due_week(moment, zone).name == "2026-W43"
    assert weeks.latest_due_week(moment, zone).due_at == moment
    assert weeks.latest_due_week(moment - timedelta(seconds=1), zone).name == "2026-W42"


def test_a_week_with_a_clock_change_is_an_hour_longer_or_shorter():
    autumn, following, spring = (
        weeks.latest_due_week(datetime(2026, month, day, 12, tzinfo=UTC), "Europe/Berlin")
        for month, day in ((10, 26), (11, 2), (3, 30))
    )
    assert (autumn.name, following.name, spring.name) == ("2026-W43", "2026-W44", "2026-W13")
    assert autumn.ends_at - autumn.starts_at == timedelta(days=7, hours=1)
    assert spring.ends_at - spring.starts_at == timedelta(days=7, hours=-1)
    assert following.starts_at == autumn.ends_at, "no hour is missing or counted twice"


def test_summaries_are_queued_once_when_the_week_is_due(account, record):
    account.time_zone = "Australia/Sydney"
    record()
    early = datetime(2026, 10, 25, 21, 59, tzinfo=UTC)
    due = early + timedelta(minutes=1)
    weekly_summary.enqueue_summaries(account.id, now=early)
    assert _weeks() == {"2026-W42": WeekState.SKIPPED}, "that week ended more than a day ago"
    for _ in range(2):
        assert weekly_summary.find_work(due) in ([(weekly_summary.JOB, account.id)], [])
        weekly_summary.enqueue_summaries(account.id, now=due)
    assert weekly_summary.find_work(due) == []
    assert _weeks()["2026-W43"] is WeekState.DONE
    assert _summaries() == [
        ("owner-weekly-summary", EmailDecision.QUEUED),
        ("weekly-summary", EmailDecision.QUEUED),
    ]


def test_a_summary_without_a_settled_address_does_not_leave_and_the_owner_is_asked_for_it(
    account, affiliate, owner, record
):
    branding.save_address(account, "", without=False, now=utcnow())
    asked = "Weekly summaries need your postal address"
    assert asked in owner.get("/deliveries").get_data(as_text=True)
    record()
    weekly_summary.enqueue_summaries(account.id, now=datetime(2026, 10, 26, 9, tzinfo=UTC))
    assert _summaries() == [
        ("owner-weekly-summary", EmailDecision.QUEUED),
        ("weekly-summary", EmailDecision.NO_ADDRESS),
    ]
    page = owner.get(f"/affiliates/{affiliate.id}").get_data(as_text=True)
    assert "Your postal address was missing" in page
    assert "/automated-emails/look" in page
    form = {"accent": "#1f3f5c", "footer": "", "address": "", "without_address": "y"}
    assert owner.submit("/automated-emails/look", form).status_code == 303
    assert asked not in owner.get("/deliveries").get_data(as_text=True)


@pytest.mark.parametrize("approved", [True, False])
def test_summaries_carry_the_postal_address_also_before_the_account_is_approved(
    account, affiliate, record, approved
):
    affiliate.confirmed_at = utcnow()
    account.approved_at = utcnow() if approved else None
    record()
    weekly_summary.enqueue_summaries(account.id, now=datetime(2026, 10, 26, 9, tzinfo=UTC))
    [mail] = messages("weekly-summary")
    assert "1 Garden Lane" in mail.text
    assert "1 Garden Lane" in mail.html
    assert not mail.is_custom


@pytest.mark.parametrize(("late", "state"), [(23, WeekState.DONE), (25, WeekState.SKIPPED)])
def test_a_summary_more_than_a_day_late_is_skipped(account, record, late, state):
    record()
    weekly_summary.enqueue_summaries(
        account.id, now=datetime(2026, 10, 26, 9, tzinfo=UTC) + timedelta(hours=late)
    )
    assert _weeks() == {"2026-W43": state}
    assert bool(_summaries()) is (state is WeekState.DONE)


def test_a_job_continues_after_the_batch_at_which_the_worker_crashed(account, affiliate, record, monkeypatch):
    record()
    for number in range(4):
        row = signup.new_affiliate(account, "Grace", f"grace{number}@example.org", utcnow())
        row.state = AffiliateState.ACTIVE
        db.session.add(row)
    db.session.commit()
    monkeypatch.setattr(weekly_summary, "BATCH_ROWS", 2)
    due = datetime(2026, 10, 26, 9, tzinfo=UTC)
    assert weekly_summary._run_batch(account.id, due)  # the first batch; here the worker crashes
    db.session.rollback()
    assert _weeks()["2026-W43"] is WeekState.PLANNED
    assert weekly_summary.find_work(due) == [(weekly_summary.JOB, account.id)]
    weekly_summary.enqueue_summaries(account.id, now=due)
    affiliate_ids = list(
        db.session.scalars(select(Event.affiliate_id).where(Event.type == EventType.WEEK_ENDED))
    )
    assert len(affiliate_ids) == len(set(affiliate_ids)) == 6, "each affiliate once, and the owner"
    assert _weeks()["2026-W43"] is WeekState.DONE


def test_a_week_is_summarized_once_and_skipped_when_it_ended_long_ago(owner, client):
    monday = utcnow().replace(year=2026, month=11, day=16, hour=10, minute=0)
    with time_machine.travel(monday - timedelta(days=4), tick=False):
        account = account_of()
        account.created_at = utcnow()
        signup_rules.save_rules(account.id, signup_rules.Rules(confirm=False))
        sign_up(client)
        values = {"order": "A1", "amount": "10", "currency": "EUR", "commission": "0.10"}
        account, affiliate = account_of(), newest_affiliate()
        for number in range(3):
            new = NewEvent(account, EventType.PURCHASE, affiliate, values)
            record_event(new, key=str(number), source=Source.API, now=utcnow())
        db.session.commit()
    assert (weekly_summary.JOB, account_of().id) in weekly_summary.find_work(monday)
    for _ in range(2):
        weekly_summary.enqueue_summaries(account_of().id, now=monday)
    [mail] = messages("weekly-summary")
    assert "0.30 EUR" in mail.text
    assert len(messages("owner-weekly-summary")) == 1
    assert (weekly_summary.JOB, account_of().id) not in weekly_summary.find_work(monday)
    weekly_summary.enqueue_summaries(account_of().id, now=monday + timedelta(days=9))
    weeks = list(db.session.scalars(select(Week).order_by(Week.id)))
    assert [week.state for week in weeks] == [WeekState.DONE, WeekState.SKIPPED]
    assert len(messages("weekly-summary")) == 1
