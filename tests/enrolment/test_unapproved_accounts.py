"""What a stranger who registers can make the platform's sender carry, and what ends with the operator's approval."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
import time_machine
from sqlalchemy import select, update

from portal.accounts import standing
from portal.accounts.models import Account, Owner
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup_rules
from portal.events import event_log
from portal.events.dispatch import NewEvent, record_event
from portal.events.models import EmailDecision
from portal.events.types import EventType, Source
from portal.incidents import failover
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from portal.outbox.queue import SYSTEM
from portal.outbox.sending.drain import drain_queue
from portal.settings import credentials, versions
from portal.state import KEY
from tests.accounts.conftest import path_in as path_in_mail
from tests.accounts.conftest import portal_emails
from tests.conftest import PASSWORD
from tests.enrolment.support import messages, path_in
from tests.incidents.conftest import add_settings
from tests.outbox.support import enqueue_message
from tests.settings.conftest import config as config
from tests.settings.conftest import servers as servers
from tests.smtp import badserver

pytestmark = pytest.mark.both_databases
EVIL = "https://evil.example/login"
BOUGHT = {"order": "A-1", "amount": "10.00", "currency": "EUR", "commission": "1.00"}


@pytest.fixture(autouse=True)
def clock():
    """Set the clock to the beginning of a rate-limit window, so that no test runs across the end of one."""
    with time_machine.travel("2026-03-02 09:01:00+00:00") as traveller:
        yield traveller


@pytest.fixture
def spammer(client):
    """The browser of a stranger who has registered an account that no operator has approved."""
    form = {
        "programme": "Dovetail",
        "name": "Cy Young",
        "mailbox": "cy@dovetail.example",
        "password": PASSWORD,
    }
    client.submit("/register", form)
    client.submit(path_in_mail(portal_emails("confirm-registration")[0][1]), {})
    return client


def live_settings(account_id: int, port: int) -> None:
    """Let the account send through the scripted server on this port."""
    version = add_settings(account_id, host="localhost", port=port)
    version.security, version.mechanism, version.username = "implicit", "automatic", badserver.USERNAME
    credentials.seal(version, badserver.PASSWORD)
    db.session.commit()


def account() -> Account:
    db.session.rollback()
    return db.session.scalars(select(Account)).one()


def join(browser, mailbox):
    return browser.submit("/join/dovetail", {"name": "Any Body", "mailbox": mailbox, "consent": "y"})


def drain():
    account_id = account().id
    db.session.rollback()
    drain_queue(SYSTEM)
    drain_queue(account_id)


def carried(server, recipient):
    """Return the messages that the platform's server got for a recipient."""
    found = [message_from_bytes(raw.lstrip(), policy=policy.default) for raw in server.messages]
    return [one for one in found if recipient in str(one["To"])]


def own_text(browser):
    page = browser.get("/automated-emails/new-sign-up").get_data(as_text=True)
    based_on = re.search(r'name="based_on"[^>]*value="(\d+)"', page).group(1)
    text = {
        "subject": "Your PayPal account is limited",
        "html": f'<p>Confirm your password: <a href="{EVIL}">Log in</a></p><p>{{{{ link }}}}</p>',
        "text": "",
        "based_on": based_on,
        "save": "1",
    }
    return browser.submit("/automated-emails/new-sign-up", text, follow_redirects=True)


def confirmed_affiliate(browser, mailbox="grace@example.org"):
    join(browser, mailbox)
    assert browser.submit(path_in("confirm-sign-up", "confirm-sign-up"), {}).status_code == 303
    db.session.rollback()
    return db.session.scalars(select(Affiliate).where(Affiliate.mailbox == mailbox)).one()


def purchase(affiliate, number):
    new = NewEvent(account(), EventType.PURCHASE, affiliate, BOUGHT | {"order": f"A-{number}"})
    recorded = record_event(new, key=f"p{number}", source=Source.API, now=utcnow())
    db.session.commit()
    return event_log.emails_by_event([recorded.event_id])[recorded.event_id]


def test_the_platform_carries_no_words_of_a_stranger_to_strangers(app, spammer, servers):
    """The whole attack: an invitation with free words, own HTML, and strangers typed into the own sign-up page."""
    invitation = {"name": "Dear Customer", "mailbox": "s@victim.example", "message": f"Confirm at {EVIL}"}
    assert spammer.submit("/affiliates/invite", invitation).status_code == 422
    spammer.submit("/affiliates/rules", {"auto_approve": "y"})  # no confirmation
    assert "Until your account is approved, the default text is sent" in own_text(spammer).get_data(
        as_text=True
    )
    visitor = app.test_client()
    for number in range(3):
        assert join(visitor, f"t{number}@victim.example").status_code == 303
    drain()
    assert carried(servers.two, "s@victim.example") == []
    for number in range(3):
        (mail,) = carried(servers.two, f"t{number}@victim.example")
        assert "evil.example" not in mail.as_string()
        assert mail["Subject"] != "Your PayPal account is limited"
    assert {row.kind for row in db.session.scalars(select(OutboxMessage)) if "victim" in row.recipient} == {
        "confirm-sign-up"
    }


def test_the_question_to_confirm_contains_nothing_from_a_stranger(app, spammer, servers):
    visitor = app.test_client()
    join(visitor, "s@victim.example")
    drain()
    (mail,) = carried(servers.two, "s@victim.example")
    assert str(mail["From"]) == "Signet <affiliates@signet.example>"
    assert mail["Reply-To"] is None
    words = "".join(part.get_content() for part in mail.walk() if part.get_content_maintype() == "text")
    assert "dovetail" not in f"{mail['Subject']} {words}".lower()
    assert "to join an affiliate programme" in words
    assert "{programme}" not in words
    page = visitor.get("/join/dovetail/thanks").get_data(as_text=True)
    assert "an email from <bdi>Signet</bdi>" in page
    assert "does not name the programme" in page


def test_an_approved_account_is_named_in_the_question_to_confirm(app, spammer, servers):
    standing.approve(account().id, now=utcnow())
    visitor = app.test_client()
    join(visitor, "grace@example.org")
    drain()
    (mail,) = carried(servers.two, "grace@example.org")
    assert str(mail["From"]) == "Dovetail via Signet <affiliates@signet.example>"
    assert str(mail["Reply-To"]) == "cy@dovetail.example"
    assert "Dovetail" in str(mail["Subject"])
    assert "an email from <bdi>Dovetail</bdi>" in visitor.get("/join/dovetail/thanks").get_data(as_text=True)


def test_a_question_that_names_the_programme_does_not_change_over_to_the_platform(app, spammer, servers):
    account_id = account().id
    live_settings(account_id, servers.one.port)
    join(app.test_client(), "s@victim.example")
    versions.stop_using(account_id, now=utcnow())
    drain()
    assert carried(servers.two, "s@victim.example") == []
    assert [row.status for row in messages("confirm-sign-up")] == [Status.FAILED]


def test_without_the_rule_to_confirm_the_thanks_page_still_asks_for_it(app, spammer):
    signup_rules.save_rules(account().id, signup_rules.Rules(confirm=False))
    assert "One last step" in app.test_client().get("/join/dovetail/thanks").get_data(as_text=True)


def test_an_affiliate_who_confirmed_gets_the_default_text(app, spammer, servers):
    own_text(spammer)
    confirmed_affiliate(app.test_client())
    drain()
    subjects = [mail["Subject"] for mail in carried(servers.two, "grace@example.org")]
    assert len(subjects) == 2
    assert "Your PayPal account is limited" not in subjects


def test_an_approved_account_sends_its_own_text(app, spammer, servers):
    own_text(spammer)
    assert standing.approve(account().id, now=utcnow())
    confirmed_affiliate(app.test_client())
    drain()
    subjects = [mail["Subject"] for mail in carried(servers.two, "grace@example.org")]
    assert "Your PayPal account is limited" in subjects


def test_an_event_about_an_unconfirmed_affiliate_shows_why_it_caused_no_email(app, spammer):
    affiliate = confirmed_affiliate(app.test_client())
    db.session.execute(update(Affiliate).values(confirmed_at=None))
    db.session.commit()
    decisions = {mail.recipient: mail.decision for mail in purchase(affiliate, 1)}
    assert decisions["grace@example.org"] is EmailDecision.NOT_APPROVED


def test_messages_that_were_queued_for_another_route_are_screened(spammer, servers):
    account_id = account().id
    allowed = enqueue_message(account_id, "owner", recipient="cy@dovetail.example")
    stranger = enqueue_message(account_id, "stranger", recipient="s@victim.example")
    custom = enqueue_message(account_id, "custom", recipient="cy@dovetail.example", is_custom=True)
    drain()
    found = {row.id: row for row in db.session.scalars(select(OutboxMessage))}
    assert found[allowed].status is Status.SENT
    assert [found[one].status for one in (stranger, custom)] == [Status.FAILED] * 2
    assert b"s@victim.example" not in bytes(servers.two.received)
    codes = {
        attempt.message_id: attempt.diagnosis["code"]
        for attempt in db.session.scalars(
            select(DeliveryAttempt).where(DeliveryAttempt.outcome == Outcome.REJECTED)
        )
    }
    assert codes == {stranger: "recipient-not-confirmed", custom: "own-text-not-approved"}
    page = spammer.get(f"/deliveries/{stranger}").get_data(as_text=True)
    assert "is not approved yet" in page


def test_an_owner_who_never_confirmed_the_mailbox_is_not_written_to(spammer, servers):
    db.session.execute(update(Owner).values(confirmed_at=None))
    db.session.commit()
    enqueue_message(account().id, "owner", recipient="cy@dovetail.example")
    drain_queue(account().id)
    assert servers.two.messages == []


def test_a_recipient_gets_at_most_the_set_number_and_the_rest_waits_for_the_next_day(spammer, servers, clock):
    account_id = account().id
    drain()
    before = len(carried(servers.two, "cy@dovetail.example"))
    ids = [enqueue_message(account_id, f"n{number}", recipient="cy@dovetail.example") for number in range(14)]
    for _ in range(3):
        drain()
    assert len(carried(servers.two, "cy@dovetail.example")) - before == 10
    clock.shift(timedelta(hours=24, minutes=5))
    for _ in range(6):
        drain()
    db.session.rollback()
    assert [db.session.get_one(OutboxMessage, one).status for one in ids] == [Status.SENT] * 14


def test_an_account_sends_at_most_the_set_number_and_the_rest_waits(app, spammer, servers, clock):
    account_id = account().id
    grace = confirmed_affiliate(app.test_client())
    _limit(app, unapproved_per_account=5, unapproved_per_recipient=100)
    drain()
    before = len(servers.two.messages)
    for number in range(9):
        enqueue_message(account_id, f"n{number}", recipient=grace.mailbox)
    for _ in range(3):
        drain()
    sent = len(servers.two.messages) - before
    assert sent <= 5
    clock.shift(timedelta(hours=24, minutes=5))
    drain()
    assert len(servers.two.messages) - before - sent == min(5, 9 - sent)


def test_a_stranger_gets_at_most_three_confirmations_whatever_the_limit(app, spammer, servers):
    account_id = account().id
    for number in range(6):
        enqueue_message(account_id, f"n{number}", recipient="s@victim.example", kind="confirm-sign-up")
    for _ in range(3):
        drain()
    assert len(carried(servers.two, "s@victim.example")) == 3


def test_approval_lets_what_waited_for_a_limit_leave(spammer, servers):
    account_id = account().id
    for number in range(12):
        enqueue_message(account_id, f"n{number}", recipient="cy@dovetail.example")
    drain()
    assert standing.approve(account_id, now=utcnow())
    drain()
    statuses = set(
        db.session.scalars(select(OutboxMessage.status).where(OutboxMessage.account_id == account_id))
    )
    assert statuses == {Status.SENT}


def test_own_settings_have_no_such_limits_and_giving_them_up_brings_them_back(app, spammer, servers):
    own_text(spammer)
    account_id = account().id
    live_settings(account_id, servers.one.port)
    signup_rules.save_rules(account_id, signup_rules.Rules(confirm=False))
    visitor = app.test_client()
    assert join(visitor, "grace@example.org").status_code == 303
    drain()
    assert [mail["Subject"] for mail in carried(servers.one, "grace@example.org")] == [
        "Your PayPal account is limited"
    ]
    assert join(visitor, "linus@example.org").status_code == 303
    versions.stop_using(account_id, now=utcnow())
    drain()
    assert carried(servers.two, "linus@example.org") == []
    assert [row.status for row in messages("new-sign-up") if row.recipient == "linus@example.org"] == [
        Status.FAILED
    ]


def test_the_platform_does_not_replace_the_server_of_an_unapproved_account(spammer, servers):
    live_settings(account().id, servers.one.port)
    with pytest.raises(failover.FailoverUnavailable, match="not approved"):
        failover.start(account().id, now=utcnow())
    standing.approve(account().id, now=utcnow())
    failover.start(account().id, now=utcnow())


def test_the_pages_state_the_limits(spammer):
    assert "Your account is not approved yet" in spammer.get("/deliveries").get_data(as_text=True)
    assert "Your own texts wait" in spammer.get("/automated-emails").get_data(as_text=True)
    assert "Your own text waits" in spammer.get("/automated-emails/new-sign-up").get_data(as_text=True)
    assert "Every sign-up needs a confirmation for now" in spammer.get("/affiliates/rules").get_data(
        as_text=True
    )


def test_an_account_made_by_command_has_no_limits(owner):
    assert "not approved" not in owner.get("/deliveries").get_data(as_text=True)
    assert not standing.is_limited(account())


# -- suspended and waiting accounts


@pytest.mark.parametrize("path", ["/join/brightleaf", "/join/brightleaf/thanks"])
def test_the_sign_up_page_of_a_suspended_account_answers_503(owner, client, path):
    standing.suspend(account().id, reason="complaints", now=utcnow())
    answer = client.get(path)
    assert answer.status_code == 503
    assert "Brightleaf is not accepting new affiliates" in answer.get_data(as_text=True)
    standing.resume(account().id)
    assert client.get(path).status_code == 200


def test_a_form_that_was_open_when_the_account_was_suspended_stores_nothing(owner, client):
    page = client.get("/join/brightleaf").get_data(as_text=True)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page).group(1)
    started = re.search(r'name="started"[^>]*value="([^"]+)"', page).group(1)
    standing.suspend(account().id, reason="", now=utcnow())
    fields = {
        "csrf_token": token,
        "started": started,
        "name": "Grace",
        "mailbox": "g@example.org",
        "consent": "y",
    }
    assert client.post("/join/brightleaf", data=fields).status_code == 503
    assert client.post("/join/brightleaf/send-again", data=fields).status_code == 503
    assert not db.session.scalars(select(Affiliate)).all()


def test_unsubscribe_and_preference_pages_of_a_suspended_account_keep_answering(owner, client):
    assert (
        client.submit(
            "/join/brightleaf", {"name": "Grace", "mailbox": "g@example.org", "consent": "y"}
        ).status_code
        == 303
    )
    affiliate = db.session.scalars(select(Affiliate)).one()
    key = page_keys.open_keys(affiliate).preferences
    standing.suspend(account().id, reason="", now=utcnow())
    assert client.get(f"/preferences/{key}").status_code == 200
    assert client.get(f"/unsubscribe/{key}/weekly-summary").status_code == 200
    answer = client.post(f"/unsubscribe/{key}/weekly-summary", data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200


def test_the_owners_read_why_the_account_is_suspended(owner):
    standing.suspend(account().id, reason="Many complaints", now=utcnow())
    page = owner.get("/deliveries").get_data(as_text=True)
    assert "Your account is suspended" in page
    assert "Many complaints" in page


def _limit(app, **changes):
    state = app.extensions[KEY]
    state.config = replace(state.config, **changes)
