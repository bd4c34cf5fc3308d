"""What happens causes its emails once, and where it causes none the reason is written down."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import suppressions
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

KIND = "new-purchase"


def _messages():
    return list(db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))


def test_a_purchase_owes_an_email_to_the_affiliate_and_one_to_the_owner(happen):
    done, mails = happen()
    assert done.is_new
    assert {kind: mail.decision for kind, mail in mails.items()} == {
        KIND: EmailDecision.QUEUED,
        "owner-new-purchase": EmailDecision.QUEUED,
    }
    assert [one.recipient for one in _messages()] == ["grace@example.org", "ada@brightleaf.example"]
    assert {mail.message_id for mail in mails.values()} == {one.id for one in _messages()}


def test_the_same_key_is_the_same_event_and_owes_nothing_again(happen):
    first, _ = happen(key="once")
    again, _ = happen(key="once")
    assert (again.event.id, again.is_new) == (first.event.id, False)
    assert len(_messages()) == 2


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (AffiliateState.UNCONFIRMED, EmailDecision.NOT_CONFIRMED),
        (AffiliateState.SUSPENDED, EmailDecision.SUSPENDED),
        (AffiliateState.PENDING, EmailDecision.NOT_ACTIVE),
        (AffiliateState.DECLINED, EmailDecision.NOT_ACTIVE),
        (AffiliateState.INVITED, EmailDecision.NOT_ACTIVE),
    ],
)
def test_whoever_does_not_take_part_hears_of_no_sale_and_the_owner_does(happen, affiliate, state, why):
    affiliate.state = state
    _, mails = happen()
    assert (mails[KIND].decision, mails[KIND].message_id) == (why, None)
    assert mails["owner-new-purchase"].decision is EmailDecision.QUEUED


@pytest.mark.parametrize(
    ("state", "occasion"),
    [(AffiliateState.PENDING, EventType.APPLIED), (AffiliateState.DECLINED, EventType.DECLINED)],
)
def test_where_they_stand_is_told_to_those_who_do_not_take_part(happen, affiliate, state, occasion):
    affiliate.state = state
    _, mails = happen(occasion, {})
    assert {mail.decision for mail in mails.values()} == {EmailDecision.QUEUED}


def test_an_email_that_is_switched_off_is_not_owed(happen, account):
    recipients.set_enabled(account.id, CATALOGUE[KIND], enabled=False)
    assert happen()[1][KIND].decision is EmailDecision.OFF


def test_an_email_the_affiliate_does_not_want_is_not_owed(happen, affiliate):
    suppressions.opt_out(affiliate.id, [KIND], now=utcnow())
    assert happen()[1][KIND].decision is EmailDecision.OPTED_OUT


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (SuppressionReason.BY_OWNER, EmailDecision.SUPPRESSED),
        (SuppressionReason.BOUNCED, EmailDecision.SUPPRESSED),
        (SuppressionReason.UNSUBSCRIBED, EmailDecision.QUEUED),
    ],
)
def test_a_mailbox_on_the_list_is_not_written_to_and_one_that_unsubscribed_hears_what_happens(
    happen, account, affiliate, reason, why
):
    suppressions.suppress(account.id, affiliate.mailbox, reason, now=utcnow())
    assert happen()[1][KIND].decision is why


def test_a_week_without_anything_to_tell_is_not_told(happen):
    assert (
        happen(EventType.WEEK_ENDED, {}, nothing_to_tell=True)[1]["weekly-summary"].decision
        is EmailDecision.NOTHING_TO_TELL
    )


def test_a_text_that_cannot_be_rendered_stops_its_own_email_alone(happen, monkeypatch):
    """What was accepted yesterday may be refused by tomorrow's limits; nobody can type such a text today."""
    rendered = rendering.render

    def refuse(notice, *args, **more):
        if notice.kind == KIND:
            raise rendering.UnrenderableText("It holds a tag that is unknown.")
        return rendered(notice, *args, **more)

    monkeypatch.setattr(rendering, "render", refuse)
    _, mails = happen()
    assert {kind: mail.decision for kind, mail in mails.items()} == {
        KIND: EmailDecision.UNRENDERABLE,
        "owner-new-purchase": EmailDecision.QUEUED,
    }


def test_an_email_that_is_owed_already_is_not_owed_twice(happen):
    _, mails = happen()
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


@pytest.mark.both_databases
def test_of_two_at_once_with_the_same_key_one_causes_the_emails(app, account, affiliate):
    ids, fresh, gate = (account.id, affiliate.id), [], threading.Barrier(2)
    db.session.rollback()  # the fixtures' own transaction would be in the way

    def record():
        with app.app_context():
            gate.wait(5)
            one, other = db.session.get_one(Account, ids[0]), db.session.get_one(Affiliate, ids[1])
            new = dispatch.NewEvent(one, EventType.PURCHASE, other, BOUGHT)
            done = dispatch.record_event(new, key="once", source=Source.API, now=utcnow())
            fresh.append(done.is_new)
            db.session.commit()

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    db.session.rollback()
    assert sorted(fresh) == [False, True]
    assert len(list(db.session.scalars(select(Event)))) == 1
    assert len(list(db.session.scalars(select(EventMail)))) == len(_messages()) == 2


def test_an_event_is_caused_once_and_says_why_an_email_was_not_sent(owner, client):
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
    dashboard = client.get(f"/affiliate/{affiliate.dashboard_key}").get_data(as_text=True)
    assert "order A1" in dashboard
    assert "1.00 EUR" in dashboard
