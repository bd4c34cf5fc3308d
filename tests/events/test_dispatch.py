"""An event queues its emails once; for each email that is not queued the reason is stored."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import page_keys, suppressions
from portal.affiliates.models import Affiliate, AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup_rules
from portal.events import dispatch, event_log
from portal.events.models import EmailDecision, Event, EventMail
from portal.events.types import EventType, Source
from portal.notices import recipients, rendering
from portal.notices.catalogue import CATALOGUE
from portal.outbox.models import OutboxMessage
from tests.enrolment.support import account_of, newest_affiliate, sign_up
from tests.events.conftest import BOUGHT
from tests.outbox.support import run_together

pytestmark = pytest.mark.both_databases

KIND = "new-purchase"


def _messages():
    return list(db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))


def test_a_purchase_queues_an_email_to_the_affiliate_and_one_to_the_owner(record):
    recorded, mails = record()
    assert recorded.is_new
    assert {kind: mail.decision for kind, mail in mails.items()} == {
        KIND: EmailDecision.QUEUED,
        "owner-new-purchase": EmailDecision.QUEUED,
    }
    assert [one.recipient for one in _messages()] == ["grace@example.org", "ada@brightleaf.example"]
    assert {mail.message_id for mail in mails.values()} == {one.id for one in _messages()}


def test_a_known_key_queues_nothing(record):
    first, _ = record(key="once")
    again, _ = record(key="once")
    assert (again.event.id, again.is_new) == (first.event.id, False)
    assert len(_messages()) == 2


@pytest.mark.parametrize(
    ("state", "decision"),
    [
        (AffiliateState.UNCONFIRMED, EmailDecision.NOT_CONFIRMED),
        (AffiliateState.SUSPENDED, EmailDecision.SUSPENDED),
        (AffiliateState.PENDING, EmailDecision.NOT_ACTIVE),
        (AffiliateState.DECLINED, EmailDecision.NOT_ACTIVE),
        (AffiliateState.INVITED, EmailDecision.NOT_ACTIVE),
    ],
)
def test_a_sale_is_reported_to_the_owner_but_not_to_an_inactive_affiliate(record, affiliate, state, decision):
    affiliate.state = state
    _, mails = record()
    assert (mails[KIND].decision, mails[KIND].message_id) == (decision, None)
    assert mails["owner-new-purchase"].decision is EmailDecision.QUEUED


@pytest.mark.parametrize(
    ("state", "type_"),
    [(AffiliateState.PENDING, EventType.APPLIED), (AffiliateState.DECLINED, EventType.DECLINED)],
)
def test_an_inactive_affiliate_is_informed_about_their_own_state(record, affiliate, state, type_):
    affiliate.state = state
    _, mails = record(type_, {})
    assert {mail.decision for mail in mails.values()} == {EmailDecision.QUEUED}


def test_an_email_that_is_switched_off_is_not_queued(record, account):
    recipients.set_enabled(account.id, CATALOGUE[KIND], enabled=False)
    assert record()[1][KIND].decision is EmailDecision.OFF


def test_an_email_the_affiliate_opted_out_of_is_not_queued(record, affiliate):
    suppressions.opt_out(affiliate.id, [KIND], now=utcnow())
    assert record()[1][KIND].decision is EmailDecision.OPTED_OUT


@pytest.mark.parametrize(
    ("reason", "decision"),
    [
        (SuppressionReason.BY_OWNER, EmailDecision.SUPPRESSED),
        (SuppressionReason.BOUNCED, EmailDecision.SUPPRESSED),
        (SuppressionReason.UNSUBSCRIBED, EmailDecision.QUEUED),
    ],
)
def test_a_suppressed_mailbox_gets_no_email_and_an_unsubscribed_one_gets_transactional_emails(
    record, account, affiliate, reason, decision
):
    suppressions.suppress(account.id, affiliate.mailbox, reason, now=utcnow())
    assert record()[1][KIND].decision is decision


def test_an_empty_week_queues_no_summary(record):
    _, mails = record(EventType.WEEK_ENDED, {}, withheld=EmailDecision.NOTHING_TO_TELL)
    assert mails["weekly-summary"].decision is EmailDecision.NOTHING_TO_TELL


def test_a_text_that_cannot_be_rendered_affects_its_own_email_only(record, monkeypatch):
    """Patched, because the editor refuses such a text. A stored one can fail after the limits were tightened."""
    render = rendering.render

    def refuse(notice, *args, **more):
        if notice.kind == KIND:
            raise rendering.UnrenderableText("It holds a tag that is unknown.")
        return render(notice, *args, **more)

    monkeypatch.setattr(rendering, "render", refuse)
    _, mails = record()
    assert {kind: mail.decision for kind, mail in mails.items()} == {
        KIND: EmailDecision.UNRENDERABLE,
        "owner-new-purchase": EmailDecision.QUEUED,
    }


def test_an_email_that_is_queued_already_is_a_duplicate(record):
    _, mails = record()
    row = db.session.get_one(Event, mails[KIND].event_id)
    db.session.delete(mails[KIND])
    db.session.flush()
    planned = dispatch.plan_emails(dispatch.NewEvent(_account(row), row.type, _affiliate(row), BOUGHT))
    [one] = [one for one in planned if one.notice.kind == KIND]
    dispatch._record_email(row.id, row.account_id, one, utcnow())
    again = event_log.emails_by_event([row.id])[row.id][-1]
    assert again.decision is EmailDecision.DUPLICATE
    assert again.message_id == _messages()[0].id


def _account(event):
    return db.session.get_one(Account, event.account_id)


def _affiliate(event):
    return db.session.get_one(Affiliate, event.affiliate_id)


def test_of_two_simultaneous_events_with_one_key_one_queues_emails(app, account, affiliate):
    account_id, affiliate_id = account.id, affiliate.id
    db.session.rollback()  # ends the transaction of the fixtures, which would block the threads

    def record_once(_number):
        programme = db.session.get_one(Account, account_id)
        recipient = db.session.get_one(Affiliate, affiliate_id)
        new = dispatch.NewEvent(programme, EventType.PURCHASE, recipient, BOUGHT)
        recorded = dispatch.record_event(new, key="once", source=Source.API, now=utcnow())
        db.session.commit()
        return recorded.is_new

    results = run_together(app, 2, record_once)
    db.session.rollback()
    assert sorted(results) == [False, True]
    assert len(list(db.session.scalars(select(Event)))) == 1
    assert len(list(db.session.scalars(select(EventMail)))) == len(_messages()) == 2


def test_an_event_is_recorded_once_and_the_page_shows_why_an_email_was_not_sent(owner, client):
    signup_rules.save_rules(account_of().id, signup_rules.Rules(confirm=False))
    sign_up(client)
    affiliate, account = newest_affiliate(), account_of()
    values = {"order": "A1", "amount": "10.00", "currency": "EUR", "commission": "1.00"}
    suppressions.opt_out(affiliate.id, ["new-purchase"], now=utcnow())
    more = {"key": "a1", "source": Source.API, "now": utcnow()}
    new = dispatch.NewEvent(account, EventType.PURCHASE, affiliate, values)
    first, again = dispatch.record_event(new, **more), dispatch.record_event(new, **more)
    db.session.commit()
    assert (first.is_new, again.is_new, again.event.id) == (True, False, first.event.id)
    decisions = dict(
        db.session.execute(
            select(EventMail.kind, EventMail.decision).where(EventMail.event_id == first.event.id)
        ).all()
    )
    assert decisions["new-purchase"] is EmailDecision.OPTED_OUT
    page = owner.get("/events?occasion=purchase&mail=no-email").get_data(as_text=True)
    assert "The affiliate does not want this email." in page
    dashboard = client.get(f"/affiliate/{page_keys.open_keys(affiliate).dashboard}").get_data(as_text=True)
    assert "order A1" in dashboard
    assert "1.00 EUR" in dashboard
