"""An affiliate chooses how often the emails about events come: at once, daily or weekly; each event is in exactly one email."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import event, select, update

from portal.accounts.models import Account
from portal.affiliates import page_keys, preferences, suppressions
from portal.affiliates.models import Affiliate, AffiliateState, EmailPace, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.events import digests, pace
from portal.events.models import EmailDecision, EventMail
from portal.events.types import EventType
from portal.outbox.models import OutboxMessage
from tests.events.conftest import BOUGHT
from tests.outbox.support import run_together

GRACE = "grace@example.org"
ORDER = re.compile(r"\bA-\d+\b")
START = "2026-03-04 10:00:00+00:00"  # a Wednesday, 11:00 in Berlin


@pytest.mark.parametrize(
    ("chosen", "now", "zone", "due"),
    [
        (EmailPace.AT_ONCE, "2026-03-04T10:00", "Europe/Berlin", None),
        (None, "2026-03-04T10:00", "Europe/Berlin", None),
        (EmailPace.DAILY, "2026-03-04T07:59", "Europe/Berlin", "2026-03-04T08:00"),
        (EmailPace.DAILY, "2026-03-04T08:00", "Europe/Berlin", "2026-03-05T08:00"),
        (EmailPace.DAILY, "2026-03-28T08:00", "Europe/Berlin", "2026-03-29T07:00"),  # summer time begins
        (EmailPace.DAILY, "2026-10-24T07:00", "Europe/Berlin", "2026-10-25T08:00"),  # and ends
        (EmailPace.DAILY, "2026-03-04T23:30", "Asia/Tokyo", "2026-03-05T00:00"),
        (EmailPace.DAILY, "2026-03-04T10:00", "Nowhere/Else", "2026-03-05T09:00"),
        (EmailPace.WEEKLY, "2026-03-04T10:00", "Europe/Berlin", "2026-03-09T08:00"),
        (EmailPace.WEEKLY, "2026-03-09T07:59", "Europe/Berlin", "2026-03-09T08:00"),
        (EmailPace.WEEKLY, "2026-03-09T08:00", "Europe/Berlin", "2026-03-16T08:00"),
        (EmailPace.WEEKLY, "2026-03-08T23:30", "Europe/Berlin", "2026-03-09T08:00"),  # Monday there
        (EmailPace.WEEKLY, "2026-03-23T08:00", "Europe/Berlin", "2026-03-30T07:00"),
    ],
)
def test_a_digest_is_due_in_the_morning_of_the_programmes_time_zone(chosen, now, zone, due):
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = datetime.fromisoformat(due).replace(tzinfo=UTC) if due else None
    assert pace.next_digest(chosen, at, zone) == expected


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def grace(clock, account, affiliate):
    """An active affiliate of a programme in Berlin."""
    db.session.execute(update(Account).values(time_zone="Europe/Berlin"))
    db.session.commit()
    return affiliate


@pytest.fixture
def buy(record):
    def buy(first, last):
        for order in range(first, last + 1):
            record(EventType.PURCHASE, BOUGHT | {"order": f"A-{order}"})

    return buy


def choose(affiliate, chosen, wanted=pace.COLLECTED | {"weekly-summary"}):
    db.session.rollback()
    row = db.session.get_one(Affiliate, affiliate.id)
    pace.save_preferences(row, wanted, chosen, zone_name="Europe/Berlin", now=utcnow())


def mails():
    db.session.rollback()
    query = select(OutboxMessage).where(OutboxMessage.recipient == GRACE).order_by(OutboxMessage.id)
    return list(db.session.scalars(query))


def decisions():
    db.session.rollback()
    query = select(EventMail.decision).where(EventMail.recipient == GRACE).order_by(EventMail.id)
    return list(db.session.scalars(query))


def send_due():
    for _, account_id in digests.find_work(utcnow()):
        digests.send(account_id, now=utcnow())
    db.session.rollback()


def orders(found):
    return sorted(
        (order for one in found for order in set(ORDER.findall(one.text))), key=lambda one: int(one[2:])
    )


@pytest.mark.both_databases
def test_what_an_affiliate_wants_daily_comes_in_one_email_each_morning(grace, buy, record, clock):
    choose(grace, EmailPace.DAILY)
    buy(1, 30)  # more than the limit of an hour, which a digest does not need
    record(EventType.PAYOUT, {"amount": "5.00", "currency": "EUR"})
    assert [one.kind for one in mails()] == ["payout-sent"], "money comes at once"
    assert decisions() == [EmailDecision.IN_DIGEST] * 30 + [EmailDecision.QUEUED]
    clock.shift(timedelta(hours=20))
    send_due()
    assert len(mails()) == 1, "it is six in the morning in Berlin"
    clock.shift(timedelta(hours=3))
    send_due()
    send_due()
    found = mails()
    assert [one.kind for one in found] == ["payout-sent", "event-digest"]
    assert found[1].subject == "Brightleaf: 30 events"
    assert "you chose one email a day" in found[1].text
    assert "4 Mar, 11:00: Purchase: " in found[1].text
    assert orders(found[1:]) == [f"A-{number}" for number in range(1, 31)]
    buy(31, 31)
    clock.shift(timedelta(days=1))
    send_due()
    assert [one.kind for one in mails()[2:]] == ["new-purchase"], "one event is its own email"
    clock.shift(timedelta(days=1))
    send_due()
    assert len(mails()) == 3, "nothing happened"


@pytest.mark.both_databases
def test_a_change_of_the_choice_loses_and_repeats_nothing(grace, buy, clock):
    choose(grace, EmailPace.WEEKLY)
    buy(1, 2)
    choose(grace, EmailPace.DAILY)
    buy(3, 3)
    clock.shift(timedelta(days=1))
    choose(grace, EmailPace.WEEKLY)
    buy(4, 5)
    send_due()
    assert orders(mails()) == ["A-1", "A-2", "A-3"], "what waited leaves no later than before"
    choose(grace, EmailPace.AT_ONCE)
    send_due()
    assert orders(mails()[1:]) == ["A-4", "A-5"], "what waits leaves now"
    buy(6, 6)
    assert orders(mails()) == [f"A-{number}" for number in range(1, 7)]
    clock.shift(timedelta(days=8))
    send_due()
    assert len(mails()) == 3


@pytest.mark.both_databases
@pytest.mark.parametrize("change", ["suspended", "unsubscribed", "suppressed", "opted out"])
def test_what_may_not_be_sent_any_more_is_noted_with_its_reason(grace, buy, clock, change):
    choose(grace, EmailPace.DAILY)
    buy(1, 2)
    row = db.session.get_one(Affiliate, grace.id)
    expected = EmailDecision.IN_DIGEST
    if change == "suspended":
        row.state, expected = AffiliateState.SUSPENDED, EmailDecision.SUSPENDED
    elif change == "suppressed":
        suppressions.suppress(row.account_id, GRACE, SuppressionReason.BOUNCED, now=utcnow())
        expected = EmailDecision.SUPPRESSED
    elif change == "opted out":
        preferences.store_choices(row, [], now=utcnow())
        expected = EmailDecision.OPTED_OUT
    else:  # from summaries and invitations only
        preferences.unsubscribe(row, preferences.one_click_notice("weekly-summary"), now=utcnow())
    db.session.commit()
    clock.shift(timedelta(days=1))
    send_due()
    assert decisions() == [expected] * 2
    assert orders(mails()) == (["A-1", "A-2"] if expected is EmailDecision.IN_DIGEST else [])
    assert digests.count_waiting(1) == 0


@pytest.mark.both_databases
def test_two_workers_and_one_that_is_killed_send_each_event_once(app, grace, buy, clock):
    choose(grace, EmailPace.DAILY)
    buy(1, 20)
    account_id = grace.account_id
    clock.shift(timedelta(days=1))

    def die(_session):
        raise KeyboardInterrupt

    event.listen(db.session, "before_commit", die)
    try:
        with pytest.raises(KeyboardInterrupt):
            digests.send(account_id, now=utcnow())
    finally:
        event.remove(db.session, "before_commit", die)
    db.session.rollback()
    assert mails() == []
    db.session.remove()
    run_together(app, 2, lambda _: digests.send(account_id, now=utcnow()))
    send_due()
    assert orders(mails()) == [f"A-{number}" for number in range(1, 21)]
    assert digests.count_waiting(1) == 0


@pytest.mark.both_databases
def test_the_affiliate_chooses_on_the_page_of_the_preferences(grace, client):
    page = f"/preferences/{page_keys.open_keys(grace).preferences}"
    assert re.search(r'value="at-once"[^>]*\bchecked', client.get(page).get_data(as_text=True))
    form = {"kind": ["new-purchase"], "pace": "weekly"}
    assert client.submit(page, form).status_code == 303
    db.session.expire_all()
    assert db.session.get_one(Affiliate, grace.id).email_pace is EmailPace.WEEKLY
    assert re.search(r'value="weekly"[^>]*\bchecked', client.get(page).get_data(as_text=True))
    assert client.submit(page, {"kind": ["new-purchase"]}).status_code == 303
    db.session.expire_all()
    assert db.session.get_one(Affiliate, grace.id).email_pace is EmailPace.WEEKLY, (
        "a page of before has no choice"
    )
    assert client.submit(page, {"pace": "hourly"}).status_code == 400


def test_a_digest_of_a_german_programme_is_german(grace, buy, record, clock):
    db.session.execute(update(Account).values(language="de"))
    db.session.commit()
    choose(grace, EmailPace.WEEKLY)
    buy(1, 1)
    record(EventType.LEAD, {"lead_name": "Ada"})
    clock.shift(timedelta(days=5))
    send_due()
    [mail] = mails()
    assert mail.subject == "Brightleaf: 2 Ereignisse"
    assert "du hast eine E-Mail in der Woche gewählt" in mail.text
    assert "4. März, 11:00: Kauf: Bestellung A-1, " in mail.text
    assert "10,00 EUR" in mail.text
