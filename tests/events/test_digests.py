"""Limits of the emails about events to one recipient: what exceeds them becomes one email, and nothing is lost."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import event, select

from portal.affiliates import suppressions
from portal.affiliates.models import AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import moderation, signup
from portal.events import digests, event_log
from portal.events.models import EmailDecision, EventMail
from portal.events.types import EventType
from portal.notices import rendering
from portal.outbox.models import OutboxMessage
from tests.events.conftest import BOUGHT
from tests.outbox.support import run_together

pytestmark = pytest.mark.both_databases
GRACE, ADA = "grace@example.org", "ada@brightleaf.example"
ORDER = re.compile(r"(?<!\S)A-\d+")  # not within the random key of a link


@pytest.fixture(autouse=True)
def clock():
    """Set the clock to the beginning of a rate-limit window, so that no test runs across the end of one."""
    with time_machine.travel("2026-03-02 09:01:00+00:00", tick=False) as traveller:
        yield traveller


@pytest.fixture
def buy(record):
    """Return a function that records purchases; their orders are A-1, A-2 ..."""

    def buy(number, **more):
        for order in range(1, number + 1):
            record(EventType.PURCHASE, BOUGHT | {"order": f"A-{order}"}, **more)

    return buy


@pytest.fixture
def other(account):
    """Return a function that stores another affiliate."""

    def other(mailbox, **more):
        row = signup.new_affiliate(account, "Linus", mailbox, utcnow())
        row.state = AffiliateState.ACTIVE
        for name, value in more.items():
            setattr(row, name, value)
        db.session.add(row)
        db.session.commit()
        return row

    return other


def mails_to(mailbox=GRACE):
    db.session.rollback()
    query = select(OutboxMessage).where(OutboxMessage.recipient == mailbox)
    return list(db.session.scalars(query.order_by(OutboxMessage.id)))


def decisions(mailbox=GRACE):
    db.session.rollback()
    return list(
        db.session.scalars(
            select(EventMail.decision).where(EventMail.recipient == mailbox).order_by(EventMail.id)
        )
    )


def send_due():
    """Run the jobs of the digests that are due; return how many there were."""
    jobs = digests.find_work(utcnow())
    for _, account_id in jobs:
        digests.send(account_id, now=utcnow())
    return len(jobs)


@pytest.mark.parametrize(("mailbox", "kind"), [(GRACE, "event-digest"), (ADA, "owner-event-digest")])
def test_120_purchases_are_a_handful_of_emails_and_none_is_lost(buy, clock, mailbox, kind):
    buy(120)
    assert len(mails_to(mailbox)) == 4
    assert decisions(mailbox) == [EmailDecision.QUEUED] * 4 + [EmailDecision.IN_DIGEST] * 116
    assert send_due() == 0, "it waits for the events of an hour"
    clock.shift(timedelta(hours=1))
    assert send_due() == 1
    found = mails_to(mailbox)
    assert [one.kind for one in found[4:]] == [kind]
    assert found[4].subject == "Brightleaf: 116 events"
    assert "2 Mar, 09:01: Purchase: " in found[4].text
    orders = {order for one in found for order in ORDER.findall(one.text)}
    assert orders == {f"A-{number}" for number in range(1, 121)}
    assert len(ORDER.findall(found[4].html)) == 116
    ids = db.session.scalars(select(EventMail.message_id).where(EventMail.recipient == mailbox))
    assert list(ids)[4:] == [found[4].id] * 116
    assert send_due() == 0
    assert len(mails_to(mailbox)) == 5


def test_what_a_day_allows_is_followed_by_digests_of_four_hours(buy, clock):
    for _ in range(5):
        buy(6)
        clock.shift(timedelta(hours=1, minutes=6))
        send_due()
    kinds = [one.kind for one in mails_to()]
    assert kinds.count("new-purchase") == 12
    clock.shift(timedelta(hours=4))
    send_due()
    assert digests.count_waiting(1) == 0
    assert len(mails_to()) <= 12 + 5


def test_a_single_email_that_waited_is_sent_as_itself(buy, clock):
    buy(5)
    clock.shift(timedelta(hours=1))
    assert send_due() == 1
    assert [one.kind for one in mails_to()] == ["new-purchase"] * 5
    assert "A-5" in mails_to()[4].text
    caused_by = event_log.find_by_message(mails_to()[4].id)
    assert caused_by is not None, "it can be sent again with today's text"
    assert caused_by.values["order"] == "A-5"
    assert decisions() == [EmailDecision.QUEUED] * 5


def test_more_events_than_an_email_lists_are_counted(buy, clock, monkeypatch):
    monkeypatch.setattr(digests, "MAX_LINES", 3)
    buy(12)
    clock.shift(timedelta(hours=1))
    send_due()
    text = mails_to()[4].text
    assert "8 events in one email" in text
    assert "and 5 more" in text


def test_a_digest_that_cannot_be_rendered_stops_no_other(buy, clock, monkeypatch):
    """Patched, because the editor refuses such a text. A stored one can fail after the limits were tightened."""
    buy(7)
    render = rendering.render

    def refuse(notice, *args, **more):
        if notice.kind == "owner-event-digest":
            raise rendering.UnrenderableText("It holds a tag that is unknown.")
        return render(notice, *args, **more)

    monkeypatch.setattr(rendering, "render", refuse)
    clock.shift(timedelta(hours=1))
    assert send_due() == 1
    assert decisions(ADA)[4:] == [EmailDecision.UNRENDERABLE] * 3
    assert [one.kind for one in mails_to()[4:]] == ["event-digest"]
    assert send_due() == 0


def test_a_digest_to_an_owner_costs_no_query_for_each_affiliate(record, other, account, clock):
    def queries_for(number):
        for one in range(number):
            record(EventType.SIGNED_UP, {}, about=other(f"a{utcnow():%d}-{one}@example.org"))
        clock.shift(timedelta(days=2))
        before = len(statements)
        digests.send(account.id, now=utcnow())
        return len(statements) - before

    statements = []
    listener = lambda *args: statements.append(args[2])  # noqa: E731 - removed below
    event.listen(db.engine, "before_cursor_execute", listener)
    try:
        few, many = queries_for(5), queries_for(25)
    finally:
        event.remove(db.engine, "before_cursor_execute", listener)
    assert decisions(ADA).count(EmailDecision.IN_DIGEST) == 3 + 23
    assert many <= few + 3


def test_an_affiliate_who_is_suspended_meanwhile_gets_no_digest(buy, account, affiliate, clock):
    buy(7)
    moderation.suspend(account, affiliate.id, now=utcnow())
    clock.shift(timedelta(hours=1))
    send_due()
    assert len(mails_to()) == 4
    assert decisions()[4:] == [EmailDecision.SUSPENDED] * 3
    assert len(mails_to(ADA)) == 5


def test_a_mailbox_that_is_suppressed_meanwhile_gets_no_digest(buy, account, affiliate, clock):
    buy(7)
    suppressions.suppress(account.id, affiliate.mailbox, SuppressionReason.BY_OWNER, now=utcnow())
    db.session.commit()
    clock.shift(timedelta(hours=1))
    send_due()
    assert len(mails_to()) == 4
    assert decisions()[4:] == [EmailDecision.SUPPRESSED] * 3


def test_spellings_of_one_mailbox_share_the_limit(record, other):
    for number in range(6):
        one = other(f"l.inus+{number}@example.org")
        record(EventType.LEAD, {}, about=one)
    assert sum(len(mails_to(f"l.inus+{number}@example.org")) for number in range(6)) == 4


def test_sign_ups_by_strangers_do_not_use_up_the_emails_about_sales(record, buy, other):
    for number in range(30):
        record(EventType.SIGNED_UP, {}, about=other(f"a{number}@example.org"))
    assert [one.kind for one in mails_to(ADA)] == ["owner-new-affiliate"] * 2
    buy(1)
    assert [one.kind for one in mails_to(ADA)][2:] == ["owner-new-purchase"]


def test_strangers_make_the_portal_write_to_an_owner_three_times_a_day(record, other, clock):
    sent = []
    for hour in range(72):
        for number in range(3):
            record(EventType.SIGNED_UP, {}, about=other(f"a{hour}-{number}@example.org"))
        send_due()
        sent.append(len(mails_to(ADA)))
        clock.shift(timedelta(hours=1))
    assert max(later - earlier for earlier, later in zip(sent, sent[24:], strict=False)) <= 3
    assert decisions(ADA).count(EmailDecision.IN_DIGEST) + 2 * 3 >= len(decisions(ADA))


def test_sign_ups_whose_mailbox_is_confirmed_have_a_limit_apart_from_sales(record, buy, other):
    for number in range(30):
        one = other(f"a{number}@example.org", confirmed_at=utcnow())
        record(EventType.SIGNED_UP, {}, about=one)
    assert len(mails_to(ADA)) == 4
    buy(1)
    assert len(mails_to(ADA)) == 5


def test_the_emails_that_wait_are_found_without_a_look_at_those_of_other_accounts(buy, account):
    buy(6)
    account_id, statement = account.id, str(digests._WAITING_OF.statement)
    assert digests.count_waiting(account_id) == 2 * 2, "of six, to affiliate and owner"
    assert "digest_account_id" in statement
    assert "JOIN" not in statement
    assert digests.count_waiting(account_id + 1) == 0


def test_workers_at_the_same_time_send_one_digest(app, buy, account, clock):
    buy(20)
    clock.shift(timedelta(hours=1))
    account_id = account.id
    db.session.rollback()
    run_together(app, 4, lambda _: digests.send(account_id, now=utcnow()))
    assert len(mails_to()) == len(mails_to(ADA)) == 5


def test_the_pages_show_that_an_email_waits_and_link_to_the_digest(owner, buy, affiliate, clock):
    buy(6)
    sentence = "This is sent together with others in one email"
    for page in ("/events", f"/affiliates/{affiliate.id}", "/events?mail=no-email"):
        assert owner.get(page).get_data(as_text=True).count(sentence) >= 2, page
    page = owner.get("/deliveries").get_data(as_text=True)
    assert "4 emails are waiting because their recipients get many at present" in page
    assert "Emails that were not sent, and why" in page
    clock.shift(timedelta(hours=1))
    send_due()
    for page in ("/events", f"/affiliates/{affiliate.id}"):
        assert sentence not in owner.get(page).get_data(as_text=True), page
    assert f"/deliveries/{mails_to()[-1].id}" in owner.get("/events").get_data(as_text=True)
    assert "emails are waiting because" not in owner.get("/deliveries").get_data(as_text=True)
    assert owner.get(f"/deliveries/{mails_to()[-1].id}").status_code == 200
