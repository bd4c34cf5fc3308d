"""Actions on one message: retry, cancel, and sending another copy."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.affiliates.models import SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import resend
from portal.events.dispatch import NewEvent, record_event
from portal.events.types import EventType, Source
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.queue import is_own_server_only, own_server_key
from tests.pages import csrf_token

from .conftest import account_of, status_of, submit

pytestmark = pytest.mark.both_databases
KEY = "a-key-of-a-form"


def _copies() -> list[OutboxMessage]:
    db.session.expire_all()
    return list(db.session.scalars(select(OutboxMessage).where(OutboxMessage.copy_of_id.is_not(None))))


def _post_copy(browser, message, **fields):
    token = csrf_token(browser.get("/deliveries/keep").get_data(as_text=True))
    return browser.post(f"/deliveries/{message.id}/again", data={"csrf_token": token, **fields})


def test_a_failed_message_is_retried_and_a_waiting_one_cancelled(owner, enqueue):
    failed, waiting = enqueue(status=Status.FAILED), enqueue()
    assert submit(owner, failed, "retry").status_code == 303
    assert submit(owner, waiting, "cancel").status_code == 303
    assert (status_of(failed), status_of(waiting)) == (Status.QUEUED, Status.CANCELLED)


@pytest.mark.parametrize("operation", ["retry", "cancel", "again"])
def test_actions_on_messages_of_other_accounts_are_refused(owner, stranger, client, enqueue, operation):
    message = enqueue(status=Status.FAILED)
    token = csrf_token(stranger.get("/deliveries/keep").get_data(as_text=True))
    response = stranger.post(f"/deliveries/{message.id}/{operation}", data={"csrf_token": token, "key": KEY})
    assert response.status_code == 404
    assert client.post(f"/deliveries/{message.id}/{operation}").status_code in (302, 303, 400)
    assert owner.get(f"/deliveries/{message.id}/{operation}").status_code == 405
    assert status_of(message) is Status.FAILED
    assert not _copies()


def test_a_refused_action_shows_the_reason(owner, enqueue):
    message = enqueue(status=Status.SENT)
    response = submit(owner, message, "retry")
    assert response.status_code == 422
    assert "To have it delivered once more, send another copy." in response.get_data(as_text=True)
    without_text = enqueue(status=Status.FAILED, text="", html="")
    response = submit(owner, without_text, "retry")
    assert "The text of this email was deleted" in response.get_data(as_text=True)
    assert status_of(without_text) is Status.FAILED


def test_a_copy_links_to_its_original_and_a_double_click_makes_one(owner, enqueue):
    message = enqueue(status=Status.SENT, recipient="grace@navy.example")
    first = submit(owner, message, "again", to="recipient", words="sent", key=KEY)
    second = submit(owner, message, "again", to="recipient", words="sent", key=KEY)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location
    (copy,) = _copies()
    assert (copy.copy_of_id, copy.recipient, copy.text) == (message.id, message.recipient, message.text)
    assert f'href="/deliveries/{copy.id}"' in owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert f'href="/deliveries/{message.id}"' in owner.get(f"/deliveries/{copy.id}").get_data(as_text=True)


def test_a_copy_for_the_owner_cannot_unsubscribe_the_affiliate(owner, enqueue):
    message = enqueue(status=Status.SENT, unsubscribe_url="https://signet.example/u/secret")
    assert submit(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303
    (copy,) = _copies()
    assert (copy.recipient, copy.unsubscribe_url) == ("ada@brightleaf.example", "")


def test_a_copy_of_the_owners_summary_keeps_its_unsubscribe_link(owner, enqueue):
    link = "https://signet.example/u/mine"
    message = enqueue(status=Status.SENT, recipient="ada@brightleaf.example", unsubscribe_url=link)
    assert submit(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303
    (copy,) = _copies()
    assert (copy.recipient, copy.unsubscribe_url) == ("ada@brightleaf.example", link)


def test_a_copy_of_an_imports_email_never_leaves_through_the_platform_either(owner, enqueue):
    message = enqueue(status=Status.SENT, recipient="grace@navy.example")
    message.key = own_server_key(message.key)
    db.session.commit()
    assert submit(owner, message, "again", to="recipient", words="sent", key=KEY).status_code == 303
    assert submit(owner, message, "again", to="me", words="sent", key=KEY[::-1]).status_code == 303
    assert sorted(is_own_server_only(copy.key) for copy in _copies()) == [False, True]


def test_no_copy_goes_to_a_suppressed_recipient(owner, enqueue):
    message = enqueue(status=Status.SENT, recipient="grace@navy.example")
    suppressions.suppress(account_of().id, "grace@navy.example", SuppressionReason.BOUNCED, now=utcnow())
    db.session.commit()
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert "grace@navy.example could not be reached before" in page
    assert "Send to grace@navy.example" not in page
    response = submit(owner, message, "again", to="recipient", words="sent", key=KEY)
    assert response.status_code == 422
    assert not _copies()
    assert submit(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303


def test_copies_to_one_recipient_are_rate_limited_in_all_spellings(owner, enqueue):
    answers = []
    for number in range(resend.RECIPIENT_LIMIT.amount + 2):
        message = enqueue(status=Status.SENT, recipient=f"g.race+{number}@navy.example")
        response = submit(owner, message, "again", to="recipient", words="sent", key=f"{KEY}{number}")
        answers.append(response.status_code)
    assert answers == [303] * resend.RECIPIENT_LIMIT.amount + [422] * 2
    assert "For this email or this recipient" in response.get_data(as_text=True)


def test_copies_are_rate_limited(owner, enqueue):
    message = enqueue(status=Status.SENT)
    for number in range(resend.MESSAGE_LIMIT.amount):
        response = submit(owner, message, "again", to="me", words="sent", key=f"{KEY}{number}")
        assert response.status_code == 303
    response = submit(owner, message, "again", to="me", words="sent", key=f"{KEY}-more")
    assert response.status_code == 422
    assert "You sent too many copies" in response.get_data(as_text=True)
    assert len(_copies()) == resend.MESSAGE_LIMIT.amount


@pytest.mark.parametrize("flag", [{"is_test": True}, {"forced_version_id": 1}])
def test_tests_and_checks_are_not_sent_again(owner, enqueue, flag):
    message = enqueue(status=Status.FAILED, **flag)
    assert _post_copy(owner, message, key=KEY, to="me").status_code == 422
    assert not _copies()


@pytest.mark.parametrize("key", ["", "short", "x" * 50])
def test_a_copy_needs_the_key_of_its_form(owner, enqueue, key):
    assert _post_copy(owner, enqueue(status=Status.SENT), key=key, to="me").status_code == 400


def test_a_message_without_an_event_cannot_be_rendered_again(owner, enqueue):
    message = enqueue(status=Status.SENT)
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert "Signet has no record of what caused this email" in page
    response = submit(owner, message, "again", to="me", words="today", key=KEY)
    assert response.status_code == 422
    assert not _copies()


def test_a_message_is_rendered_again_from_its_event(owner):
    account = account_of()
    values = {
        "order": "A-17", "amount": "10.00", "currency": "EUR", "commission": "1.00", "product": "",
        "affiliate_name": "Grace", "affiliate_email": "g@navy.example", "affiliate_page": "https://x.example/1",
    }  # fmt: skip
    new = NewEvent(account, EventType.PURCHASE, None, values)
    record_event(new, key="k1", source=Source.PORTAL, now=utcnow())
    db.session.commit()
    message = db.session.scalars(select(OutboxMessage)).one()
    message.status, message.settled_at = Status.SENT, utcnow()
    message.text = message.html = ""
    db.session.get(Account, account.id).name = "Brightleaf Reborn"
    db.session.commit()
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert "Purchase" in page
    response = submit(owner, message, "again", to="recipient", words="today", key=KEY)
    assert response.status_code == 303, response.get_data(as_text=True)
    (copy,) = _copies()
    assert "Brightleaf Reborn" in copy.text
    assert "Purchase" in owner.get(f"/deliveries/{copy.id}").get_data(as_text=True), (
        "the event of the original"
    )
