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
from portal.events import weeks
from portal.events.models import EmailDecision, Event, EventMail, Week, WeekState
from portal.events.types import EventType, Source
from portal.money import recording, weekly_summary
from portal.money.orders import Reported
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


@pytest.fixture
def report(record):
    """Return a function that records an event of now."""
    return record


@pytest.fixture
def buy(record):
    """Return a function that records a purchase of an order."""

    def buy(order, **more):
        return record(EventType.PURCHASE, order=order, **more)

    return buy


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
        values = {"amount": "10", "currency": "EUR", "commission": "0.10"}
        account, affiliate = account_of(), newest_affiliate()
        for number in range(3):
            reported = Reported(EventType.PURCHASE, values | {"order": f"A{number}"}, utcnow())
            recording.record(account, affiliate, reported, recording.Cause(Source.API, utcnow(), str(number)))
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


# -- what the week of an event is, and what is named late


def _summary_of(account, moment):
    """Queue the summaries that are due, and return the text of the newest one to the affiliate, or an empty text."""
    before = len(messages("weekly-summary"))
    weekly_summary.enqueue_summaries(account.id, now=moment)
    found = messages("weekly-summary")
    return found[-1].text if len(found) > before else ""


def test_when_an_event_happened_decides_its_week(account, buy):
    """A purchase of Sunday 23:55 in Berlin, which the shop reports after midnight."""
    account.time_zone = "Europe/Berlin"
    with time_machine.travel("2026-10-25 23:05:00+00:00", tick=False):
        buy("A-1", at=datetime(2026, 10, 25, 22, 55, tzinfo=UTC))
    text = _summary_of(account, datetime(2026, 10, 26, 8, tzinfo=UTC))
    assert "1 purchase" in messages("weekly-summary")[0].subject
    assert "12.00 EUR" in text
    assert _summary_of(account, datetime(2026, 11, 2, 8, tzinfo=UTC)) == ""


def test_what_is_reported_after_the_summary_is_named_in_the_next_one(account, buy):
    buy("A-1")
    assert "12.00 EUR" in _summary_of(account, datetime(2026, 10, 26, 9, tzinfo=UTC))
    with time_machine.travel("2026-10-27 12:00:00+00:00", tick=False):
        buy("A-2", at=datetime(2026, 10, 22, 12, tzinfo=UTC))
        buy("A-3", at=datetime(2026, 10, 27, 12, tzinfo=UTC), commission="1.00")
    text = _summary_of(account, datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert "22 October: Purchase, order A-2, 12.00 EUR" in text
    assert "A-3" not in text
    assert "Purchases: 1" in text
    assert "1.00 EUR" in text
    assert "A-1" not in text
    owner_text = messages("owner-weekly-summary")[-1].text
    assert "22 October: Purchase, Grace Hopper, order A-2, 12.00 EUR" in owner_text
    assert _summary_of(account, datetime(2026, 11, 9, 9, tzinfo=UTC)) == "", "named once"


def test_refunds_and_declines_are_subtracted_and_a_week_of_payouts_has_a_summary(account, buy, report):
    buy("A-1")
    report(EventType.REFUND, order="A-1", commission="4.00")
    buy("A-2", commission="1.00")
    report(EventType.COMMISSION_DECLINED, order="A-2", commission="1.00")
    text = _summary_of(account, datetime(2026, 10, 26, 9, tzinfo=UTC))
    assert "Commission, after refunds and declines: 8.00 EUR" in text
    assert "2 purchases" in messages("weekly-summary")[0].subject
    with time_machine.travel("2026-10-27 12:00:00+00:00", tick=False):
        report(EventType.REFUND, order="A-1", commission="3.00")
        report(EventType.PAYOUT, amount="5.00")
        report(EventType.CORRECTION, amount="-0.50")
    text = _summary_of(account, datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert "Commission, after refunds and declines: -3.00 EUR" in text
    assert "Paid out: 5.00 EUR" in text
    assert "Corrections: -0.50 EUR" in text


def test_history_that_is_reported_later_is_in_no_summary(account, buy):
    buy("A-1", at=datetime(2019, 5, 1, 10, tzinfo=UTC))
    assert _summary_of(account, datetime(2026, 10, 26, 9, tzinfo=UTC)) == ""
    assert messages("new-purchase") == []


def test_a_skipped_week_is_shown_and_can_be_sent_later(account, owner, buy):
    buy("A-1")
    told = "The weekly summaries of 19 October to 25 October were not sent"
    tuesday = datetime(2026, 10, 27, 10, 30, tzinfo=UTC)
    weekly_summary.enqueue_summaries(account.id, now=tuesday)
    assert _weeks() == {"2026-W43": WeekState.SKIPPED}
    assert told in owner.get("/deliveries").get_data(as_text=True)
    page = owner.get("/commissions/skipped-week").get_data(as_text=True)
    assert "Send summaries now" in page
    week = db.session.scalars(select(Week.id)).one()
    with time_machine.travel(tuesday, tick=False):
        for _ in range(2):  # the second click
            assert owner.submit("/commissions/skipped-week", {"week": str(week)}).status_code == 303
        assert weekly_summary.find_work(tuesday) == [(weekly_summary.JOB, account.id)]
        assert "12.00 EUR" in _summary_of(account, tuesday)
        assert _weeks() == {"2026-W43": WeekState.DONE}
        assert told not in owner.get("/deliveries").get_data(as_text=True)
        assert "No summary was skipped" in owner.get("/commissions/skipped-week").get_data(as_text=True)


def test_what_a_skipped_week_left_out_is_named_in_the_next_summary(account, owner, buy):
    buy("A-1")
    weekly_summary.enqueue_summaries(account.id, now=datetime(2026, 10, 27, 10, 30, tzinfo=UTC))
    text = _summary_of(account, datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert "21 October: Purchase, order A-1, 12.00 EUR" in text
    assert "weekly summaries of" not in owner.get("/deliveries").get_data(as_text=True)


def test_a_week_without_events_is_skipped_without_a_word(account, owner, affiliate):
    weekly_summary.enqueue_summaries(account.id, now=datetime(2026, 10, 27, 10, 30, tzinfo=UTC))
    assert "weekly summaries of" not in owner.get("/deliveries").get_data(as_text=True)
