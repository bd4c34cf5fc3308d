"""Queued emails to a suspended, opted-out or suppressed recipient are cancelled, each with its reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from portal.affiliates import page_keys, suppressions
from portal.affiliates.models import AffiliateState, SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.enrolment import signup
from portal.outbox import admin, cancellations
from portal.outbox.admin import MessageSelection
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import NewMessage, enqueue_row, hold
from tests.deliveries.conftest import WRONG_PASSWORD
from tests.enrolment.support import account_of

pytestmark = pytest.mark.both_databases

GRACE = "grace@example.org"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def account(owner):
    return account_of()


@pytest.fixture
def grace(account):
    return _affiliate(account, GRACE)


def _affiliate(account, mailbox):
    row = signup.new_affiliate(account, "Grace Hopper", mailbox, utcnow())
    row.state = AffiliateState.ACTIVE
    db.session.add(row)
    db.session.commit()
    return row


def _enqueue(account, kind, recipient=GRACE, **more):
    key = f"{kind}:{recipient}:{account.id}:{len(more)}"
    new = NewMessage(kind, key, recipient, "A subject", "A text", **more)
    message_id = enqueue_row(account.id, new, now=utcnow()).id
    db.session.commit()
    return message_id


def _statuses(*message_ids):
    db.session.rollback()
    return [db.session.get_one(OutboxMessage, message_id).status for message_id in message_ids]


def _suspend(owner, affiliate):
    page = f"/affiliates/{affiliate.id}"
    return owner.submit(f"{page}/suspend", {}, page=page)


def test_suspending_an_affiliate_cancels_their_queued_emails_with_a_reason(owner, account, grace):
    cancelled = [_enqueue(account, kind) for kind in ("new-purchase", "weekly-summary", "new-sign-up")]
    kept = [
        _enqueue(account, "owner-new-purchase", "ada@brightleaf.example"),
        _enqueue(account, "new-purchase", "alan@example.org"),
        _enqueue(account, "new-purchase", is_test=True),
    ]
    assert _suspend(owner, grace).status_code == 303
    assert _statuses(*cancelled) == [Status.CANCELLED] * 3
    assert _statuses(*kept) == [Status.QUEUED] * 3
    for message_id in cancelled:
        page = owner.get(f"/deliveries/{message_id}").get_data(as_text=True)
        assert page.count("The affiliate was suspended while it waited.") >= 2, (
            "in a sentence and in the timeline"
        )
        assert "Signet never tried to send this email." in page
        assert "Try again now" in page


def test_a_held_email_is_cancelled_and_one_that_is_being_sent_is_not(owner, account, grace):
    sending, waiting = _enqueue(account, "new-purchase"), _enqueue(account, "new-lead")
    leased = {"status": Status.SENDING, "lease_token": "t", "lease_until": utcnow() + timedelta(minutes=1)}
    db.session.execute(update(OutboxMessage).where(OutboxMessage.id == sending).values(leased))
    hold(account.id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    assert _statuses(waiting) == [Status.HELD]
    _suspend(owner, grace)
    assert _statuses(sending, waiting) == [Status.SENDING, Status.CANCELLED]


def test_suspending_affects_no_other_programme(owner, stranger, account, grace):
    other = account_of("copperpot")
    _affiliate(other, GRACE)
    theirs = _enqueue(other, "new-purchase")
    _suspend(owner, grace)
    assert _statuses(theirs) == [Status.QUEUED]


def test_another_owner_cannot_suspend_the_affiliate(stranger, account, grace):
    message_id = _enqueue(account, "new-purchase")
    page = f"/affiliates/{grace.id}"
    assert stranger.submit(f"{page}/suspend", {}, page="/affiliates/rules").status_code == 404
    assert _statuses(message_id) == [Status.QUEUED]


def test_after_the_suspension_the_owner_can_retry_a_cancelled_email(owner, account, grace):
    message_id = _enqueue(account, "new-purchase")
    _suspend(owner, grace)
    page = f"/affiliates/{grace.id}"
    assert owner.submit(f"{page}/unsuspend", {}, page=page).status_code == 303
    assert _statuses(message_id) == [Status.CANCELLED]
    message_page = f"/deliveries/{message_id}"
    assert owner.submit(f"{message_page}/retry", {}, page=message_page).status_code == 303
    assert _statuses(message_id) == [Status.QUEUED]
    admin.cancel(MessageSelection(message_ids=[message_id]), now=utcnow() + timedelta(seconds=1))
    assert cancellations.find_reason(message_id) == "", "this time the owner cancelled it"
    admin.retry(MessageSelection(message_ids=[message_id], statuses=[Status.CANCELLED]), now=utcnow())
    _suspend(owner, grace)
    assert "was suspended" in cancellations.find_reason(message_id)


def test_one_click_suppresses_the_queued_summary_but_no_transactional_email(client, owner, account, grace):
    summary, sale = _enqueue(account, "weekly-summary"), _enqueue(account, "new-purchase")
    for _ in range(2):
        answer = client.post(
            f"/unsubscribe/{page_keys.open_keys(grace).preferences}/weekly-summary", data=ONE_CLICK
        )
        assert answer.status_code == 200
    assert _statuses(summary, sale) == [Status.SUPPRESSED, Status.QUEUED]
    page = owner.get(f"/deliveries/{summary}").get_data(as_text=True)
    assert "Its recipient unsubscribed from such emails while it waited." in page
    assert "Not sent: this recipient does not get this email" in page


def test_queued_emails_of_kinds_the_affiliate_deselects_are_suppressed(client, owner, account, grace):
    lead, sale, payout = (_enqueue(account, kind) for kind in ("new-lead", "new-purchase", "payout-sent"))
    path = f"/preferences/{page_keys.open_keys(grace).preferences}"
    assert client.submit(path, {"kind": "new-purchase"}).status_code == 303
    assert _statuses(lead, sale, payout) == [Status.SUPPRESSED, Status.QUEUED, Status.QUEUED]
    assert "chose not to get" in owner.get(f"/deliveries/{lead}").get_data(as_text=True)


@pytest.mark.parametrize("mailbox", [GRACE, "GRACE@example.org"])
def test_queued_emails_to_a_mailbox_the_owner_suppresses_are_suppressed(owner, account, mailbox):
    message_ids = [_enqueue(account, kind) for kind in ("confirm-sign-up", "weekly-summary", "payout-sent")]
    path = "/affiliates/not-written-to"
    assert owner.submit(path, {"mailbox": mailbox}).status_code == 303
    assert _statuses(*message_ids) == [Status.SUPPRESSED] * 3
    assert {cancellations.find_reason(message_id) for message_id in message_ids} == {
        "Its recipient was put on the list of blocked addresses while it waited."
    }


def test_queued_emails_to_a_bounced_mailbox_are_suppressed(account, grace):
    message_id = _enqueue(account, "new-purchase")
    suppressions.suppress(account.id, GRACE, SuppressionReason.BOUNCED, note="550 5.1.1", now=utcnow())
    db.session.commit()
    assert _statuses(message_id) == [Status.SUPPRESSED]


def test_the_api_returns_why_an_email_was_cancelled(owner, account, grace):
    from portal.api import serializers

    message_id = _enqueue(account, "new-purchase")
    _suspend(owner, grace)
    db.session.rollback()
    shown = serializers.message_json(account.id, message_id)
    assert (shown["status"], shown["explanation"]) == (
        "cancelled",
        "Signet will not send this email. The affiliate was suspended while it waited.",
    )
    assert db.session.scalar(select(OutboxMessage.settled_at).where(OutboxMessage.id == message_id))
