"""What waits for somebody who is not to get it any more never leaves, and says why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from portal.affiliates import suppressions
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


def _owe(account, kind, recipient=GRACE, **more):
    key = f"{kind}:{recipient}:{account.id}:{len(more)}"
    new = NewMessage(kind, key, recipient, "A subject", "A text", **more)
    ident = enqueue_row(account.id, new, now=utcnow()).id
    db.session.commit()
    return ident


def _stand(*idents):
    db.session.rollback()
    return [db.session.get_one(OutboxMessage, ident).status for ident in idents]


def _suspend(owner, affiliate):
    page = f"/affiliates/{affiliate.id}"
    return owner.submit(f"{page}/suspend", {}, page=page)


@pytest.mark.both_databases
def test_whoever_is_suspended_gets_nothing_that_waits_either_and_each_email_says_why(owner, account, grace):
    mine = [_owe(account, kind) for kind in ("new-purchase", "weekly-summary", "new-sign-up")]
    kept = [
        _owe(account, "owner-new-purchase", "ada@brightleaf.example"),
        _owe(account, "new-purchase", "alan@example.org"),
        _owe(account, "new-purchase", is_test=True),
    ]
    assert _suspend(owner, grace).status_code == 303
    assert _stand(*mine) == [Status.CANCELLED] * 3
    assert _stand(*kept) == [Status.QUEUED] * 3
    for ident in mine:
        page = owner.get(f"/deliveries/{ident}").get_data(as_text=True)
        assert page.count("The affiliate was suspended while it waited.") >= 2, "in a sentence and on its way"
        assert "It was never tried." in page
        assert "Try again now" in page


@pytest.mark.both_databases
def test_what_is_on_hold_is_called_off_and_what_is_being_sent_is_left_alone(owner, account, grace):
    sending, waiting = _owe(account, "new-purchase"), _owe(account, "new-lead")
    leased = {"status": Status.SENDING, "lease_token": "t", "lease_until": utcnow() + timedelta(minutes=1)}
    db.session.execute(update(OutboxMessage).where(OutboxMessage.id == sending).values(leased))
    hold(account.id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    assert _stand(waiting) == [Status.HELD]
    _suspend(owner, grace)
    assert _stand(sending, waiting) == [Status.SENDING, Status.CANCELLED]


def test_another_programme_goes_on_writing_to_the_same_person(owner, stranger, account, grace):
    other = account_of("copperpot")
    _affiliate(other, GRACE)
    theirs = _owe(other, "new-purchase")
    _suspend(owner, grace)
    assert _stand(theirs) == [Status.QUEUED]


def test_a_stranger_calls_nothing_off(stranger, account, grace):
    ident = _owe(account, "new-purchase")
    page = f"/affiliates/{grace.id}"
    assert stranger.submit(f"{page}/suspend", {}, page="/affiliates/rules").status_code == 404
    assert _stand(ident) == [Status.QUEUED]


def test_let_go_on_an_affiliate_gets_what_was_called_off_only_if_the_owner_says_so(owner, account, grace):
    ident = _owe(account, "new-purchase")
    _suspend(owner, grace)
    page = f"/affiliates/{grace.id}"
    assert owner.submit(f"{page}/unsuspend", {}, page=page).status_code == 303
    assert _stand(ident) == [Status.CANCELLED]
    deed = f"/deliveries/{ident}"
    assert owner.submit(f"{deed}/retry", {}, page=deed).status_code == 303
    assert _stand(ident) == [Status.QUEUED]
    admin.cancel(MessageSelection(message_ids=[ident]), now=utcnow() + timedelta(seconds=1))
    assert cancellations.find_reason(ident) == "", "this time nobody was suspended"
    admin.retry(MessageSelection(message_ids=[ident], statuses=[Status.CANCELLED]), now=utcnow())
    _suspend(owner, grace)
    assert "was suspended" in cancellations.find_reason(ident)


@pytest.mark.both_databases
def test_one_click_spares_the_summary_that_waits_and_what_happened_is_still_told(
    client, owner, account, grace
):
    summary, sale = _owe(account, "weekly-summary"), _owe(account, "new-purchase")
    for _ in range(2):
        answer = client.post(f"/unsubscribe/{grace.preferences_key}/weekly-summary", data=ONE_CLICK)
        assert answer.status_code == 200
    assert _stand(summary, sale) == [Status.SUPPRESSED, Status.QUEUED]
    page = owner.get(f"/deliveries/{summary}").get_data(as_text=True)
    assert "Its recipient unsubscribed from such emails while it waited." in page
    assert "It was suppressed" in page


def test_what_an_affiliate_does_not_choose_any_more_does_not_leave_either(client, owner, account, grace):
    lead, sale, payout = (_owe(account, kind) for kind in ("new-lead", "new-purchase", "payout-sent"))
    path = f"/preferences/{grace.preferences_key}"
    assert client.submit(path, {"kind": "new-purchase"}).status_code == 303
    assert _stand(lead, sale, payout) == [Status.SUPPRESSED, Status.QUEUED, Status.QUEUED]
    assert "chose not to get" in owner.get(f"/deliveries/{lead}").get_data(as_text=True)


@pytest.mark.parametrize("mailbox", [GRACE, "GRACE@example.org"])
def test_a_mailbox_the_owner_puts_on_the_list_gets_nothing_that_waits(owner, account, mailbox):
    idents = [_owe(account, kind) for kind in ("confirm-sign-up", "weekly-summary", "payout-sent")]
    path = "/affiliates/not-written-to"
    assert owner.submit(path, {"mailbox": mailbox}).status_code == 303
    assert _stand(*idents) == [Status.SUPPRESSED] * 3
    assert {cancellations.find_reason(ident) for ident in idents} == {
        "Its recipient was put on the list of those not written to while it waited."
    }


def test_a_server_that_knows_no_such_mailbox_spares_it_the_rest(account, grace):
    ident = _owe(account, "new-purchase")
    suppressions.suppress(account.id, GRACE, SuppressionReason.BOUNCED, note="550 5.1.1", now=utcnow())
    db.session.commit()
    assert _stand(ident) == [Status.SUPPRESSED]


def test_the_api_tells_why_an_email_was_called_off(owner, account, grace):
    from portal.api import serializers

    ident = _owe(account, "new-purchase")
    _suspend(owner, grace)
    db.session.rollback()
    told = serializers.message_json(account.id, ident)
    assert (told["status"], told["explanation"]) == (
        "cancelled",
        "It will not be sent. The affiliate was suspended while it waited.",
    )
    assert db.session.scalar(select(OutboxMessage.settled_at).where(OutboxMessage.id == ident))
