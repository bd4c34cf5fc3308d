"""Webhooks about messages and affiliates: off until the owner asks, signed, once each, and without addresses."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import delete, select

from portal.affiliates import suppressions
from portal.affiliates.models import SuppressionReason
from portal.bounces.meaning import Meaning, Report
from portal.bounces.recording import record_event
from portal.clock import utcnow
from portal.db import db
from portal.incidents import message_events, policy, webhooks
from portal.incidents.models import WebhookDelivery
from portal.outbox.models import Outcome
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.store.types import Claim, QueuedMessage
from portal.state import get_state
from tests.bounces.support import GRACE, add_affiliate, run_worker, send
from tests.incidents.conftest import account_id_of, text_of
from tests.incidents.test_webhooks import deliver, verify


def report(account_id: int, sent, meaning: Meaning, reason: str = "") -> None:
    record_event(
        account_id,
        "mailgun",
        Report(meaning, str(meaning), reference=sent.reference, reason=reason),
        now=utcnow(),
    )
    db.session.commit()
    get_state().discard(message_events._Subscribers)  # read a second ago at most
    run_worker()


def queued(account_id: int) -> list[str]:
    db.session.rollback()
    query = select(WebhookDelivery.event).where(WebhookDelivery.account_id == account_id)
    return list(db.session.scalars(query.order_by(WebhookDelivery.id)))


def settle(account_id: int, outcome: Outcome, key: str = "one") -> None:
    """Call the listener as the outbox does at a settlement."""
    row = enqueue_row(account_id, NewMessage("new-purchase", key, GRACE, "S", "T"), now=utcnow())
    db.session.commit()
    get_state().discard(message_events._Subscribers)
    claim = Claim(QueuedMessage(*(getattr(row, name) for name in QueuedMessage._fields)), "token")
    diagnosis = {"cause": f"There is no mailbox {GRACE}."}
    for _ in range(2):
        message_events.on_attempt_settled(account_id, claim, outcome, diagnosis, "smtp.example.com:587")
        db.session.commit()


def test_what_waits_for_a_receiver_that_is_down_is_bounded(brightleaf, secret, monkeypatch):
    monkeypatch.setattr(message_events, "_MAX_WAITING_SENT", 2)
    monkeypatch.setattr(message_events, "_MAX_WAITING", 4)
    db.session.execute(delete(WebhookDelivery))
    for number in range(6):
        settle(brightleaf, Outcome.ACCEPTED, f"sent {number}")
        settle(brightleaf, Outcome.REJECTED, f"failed {number}")
    assert queued(brightleaf) == [message_events.SENT, *[message_events.FAILED] * 3]
    for number in range(2):
        message_events.on_suppressed(brightleaf, GRACE, SuppressionReason.BOUNCED, number)
        db.session.commit()
    assert len(queued(brightleaf)) == 4


@pytest.fixture
def secret(brightleaf, receiver, owner) -> str:
    """A webhook that gets events about messages, too."""
    saved = policy.save_webhook(brightleaf, receiver.url)
    page = "/incidents/alerts"
    assert owner.submit(f"{page}/webhook/messages/on", {}, page=page).status_code == 303
    assert "The webhook also gets events about emails" in text_of(owner, page)
    return saved.secret


def test_bounces_and_complaints_are_posted_signed_and_without_addresses(brightleaf, receiver, secret):
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.DELIVERED)
    report(brightleaf, sent, Meaning.HARD, f"No such user {GRACE}")
    report(brightleaf, sent, Meaning.COMPLAINT)
    assert queued(brightleaf) == [
        "message.bounced",
        "affiliate.suppressed",
        "message.complained",
        "affiliate.suppressed",
    ]
    deliver()
    bodies = [verify(secret, headers, body) for headers, body in receiver.requests]
    assert bodies[0]["message"] == {
        "id": sent.id,
        "kind": "new-purchase",
        "outcome": "hard",
        "status": None,
        "reply_code": None,
        "reason": "No such user that address",
        "reported_by": "Mailgun",
    }
    assert [body.get("reason") for body in bodies] == [None, "bounced", None, "complained"]
    assert len(bodies[0]["affiliate"]["code"]) == 12
    assert b"receiver.example" not in b"".join(body for _, body in receiver.requests)


@pytest.mark.parametrize(
    ("outcome", "event"), [(Outcome.ACCEPTED, "message.sent"), (Outcome.REJECTED, "message.failed")]
)
def test_accepted_and_failed_messages_are_posted_once(brightleaf, secret, outcome, event):
    settle(brightleaf, outcome)
    assert queued(brightleaf) == [event]
    body = json.loads(db.session.scalars(select(WebhookDelivery.body)).one())
    assert body["message"].get("cause", "") in ("", "There is no mailbox that address")


def test_nothing_is_posted_unless_the_owner_asks(brightleaf, receiver, owner):
    policy.save_webhook(brightleaf, receiver.url)
    sent = send(brightleaf)
    report(brightleaf, sent, Meaning.HARD)
    settle(brightleaf, Outcome.ACCEPTED)
    assert queued(brightleaf) == []
    page = "/incidents/alerts"
    owner.submit(f"{page}/webhook/messages/on", {}, page=page)
    owner.submit(f"{page}/webhook/messages/off", {}, page=page)
    report(brightleaf, sent, Meaning.COMPLAINT)
    assert queued(brightleaf) == []


def test_another_account_gets_nothing(brightleaf, secret, stranger):
    other = account_id_of("copperpot")
    report(other, send(other), Meaning.HARD)
    assert queued(brightleaf) == queued(other) == []


def test_what_has_ended_is_deleted_for_every_account(brightleaf, secret, receiver):
    add_affiliate(brightleaf, GRACE)
    for number in range(105):
        webhooks.enqueue(brightleaf, f"k{number}", "test", {}, now=utcnow())
    db.session.commit()
    deliver()
    deliver()
    deliver()
    webhooks.delete_ended(utcnow())
    assert len(queued(brightleaf)) == 100
    suppressions.suppress(brightleaf, GRACE, SuppressionReason.UNSUBSCRIBED, now=utcnow())
    suppressions.suppress(brightleaf, GRACE, SuppressionReason.UNSUBSCRIBED, now=utcnow())
    db.session.commit()
    assert queued(brightleaf)[-1] == "affiliate.suppressed"
