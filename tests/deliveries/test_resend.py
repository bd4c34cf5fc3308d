"""Trying again, cancelling, sending another copy, and orders about many messages at once."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Account
from portal.affiliates import suppressions
from portal.affiliates.models import SuppressionReason
from portal.clock import utcnow
from portal.db import db
from portal.deliveries import bulk_actions, resend
from portal.deliveries.filters import Filters
from portal.deliveries.models import Action, BulkAction, State
from portal.events.dispatch import NewEvent, record_event
from portal.events.types import EventType, Source
from portal.outbox.models import OutboxMessage, Outcome, Queue, Status
from portal.outbox.queue import hold
from tests.pages import csrf_token

from .conftest import WRONG_PASSWORD, account_of

pytestmark = pytest.mark.both_databases
KEY = "a-key-of-a-form"


def _state(message) -> Status:
    ident = message.id
    db.session.expire_all()
    return db.session.get(OutboxMessage, ident).status


def _copies() -> list[OutboxMessage]:
    db.session.expire_all()
    return list(db.session.scalars(select(OutboxMessage).where(OutboxMessage.copy_of_id.is_not(None))))


def _do(browser, message, deed, **fields):
    return browser.submit(f"/deliveries/{message.id}/{deed}", fields, page=f"/deliveries/{message.id}")


def test_a_failed_message_is_tried_again_and_a_waiting_one_cancelled(owner, owe):
    failed, waiting = owe(status=Status.FAILED), owe()
    assert _do(owner, failed, "retry").status_code == 303
    assert _do(owner, waiting, "cancel").status_code == 303
    assert (_state(failed), _state(waiting)) == (Status.QUEUED, Status.CANCELLED)


@pytest.mark.parametrize("deed", ["retry", "cancel", "again"])
def test_nobody_moves_what_is_somebody_elses(owner, stranger, client, owe, deed):
    message = owe(status=Status.FAILED)
    token = csrf_token(stranger.get("/deliveries/keep").get_data(as_text=True))
    answer = stranger.post(f"/deliveries/{message.id}/{deed}", data={"csrf_token": token, "key": KEY})
    assert answer.status_code == 404
    assert client.post(f"/deliveries/{message.id}/{deed}").status_code in (302, 303, 400)
    assert owner.get(f"/deliveries/{message.id}/{deed}").status_code == 405
    assert _state(message) is Status.FAILED
    assert not _copies()


def test_a_cancelled_message_gets_a_new_start_alone_or_with_many(owner, owe):
    one, other = owe(status=Status.CANCELLED), owe(status=Status.CANCELLED)
    assert _do(owner, one, "retry").status_code == 303
    assert (_state(one), _state(other)) == (Status.QUEUED, Status.CANCELLED)
    order = bulk_actions.create(
        account_of().id, Action.RETRY, bulk_actions.Scope(Filters(), [other.id]), key=KEY, now=utcnow()
    )
    bulk_actions.run(order.id)
    assert _state(other) is Status.QUEUED


def test_what_cannot_be_moved_says_why(owner, owe):
    message = owe(status=Status.SENT)
    answer = _do(owner, message, "retry")
    assert answer.status_code == 422
    assert "To have it delivered once more, send another copy." in answer.get_data(as_text=True)
    gone = owe(status=Status.FAILED, text="", html="")
    answer = _do(owner, gone, "retry")
    assert "Its text was removed" in answer.get_data(as_text=True)
    assert _state(gone) is Status.FAILED


def test_another_copy_names_its_origin_and_a_double_click_makes_one(owner, owe):
    message = owe(status=Status.SENT, recipient="grace@navy.example")
    first = _do(owner, message, "again", to="recipient", words="sent", key=KEY)
    second = _do(owner, message, "again", to="recipient", words="sent", key=KEY)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location
    (copy,) = _copies()
    assert (copy.copy_of_id, copy.recipient, copy.text) == (message.id, message.recipient, message.text)
    assert f'href="/deliveries/{copy.id}"' in owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert f'href="/deliveries/{message.id}"' in owner.get(f"/deliveries/{copy.id}").get_data(as_text=True)


def test_a_copy_for_the_owner_cannot_unsubscribe_the_affiliate(owner, owe):
    message = owe(status=Status.SENT, unsubscribe_url="https://signet.example/u/secret")
    assert _do(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303
    (copy,) = _copies()
    assert (copy.recipient, copy.unsubscribe_url) == ("ada@brightleaf.example", "")


def test_a_copy_of_the_owners_own_summary_can_still_be_ended_with_one_click(owner, owe):
    out = "https://signet.example/u/mine"
    message = owe(status=Status.SENT, recipient="ada@brightleaf.example", unsubscribe_url=out)
    assert _do(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303
    (copy,) = _copies()
    assert (copy.recipient, copy.unsubscribe_url) == ("ada@brightleaf.example", out)


def test_a_suppressed_recipient_is_refused_and_said_why(owner, owe):
    message = owe(status=Status.SENT, recipient="grace@navy.example")
    suppressions.suppress(account_of().id, "grace@navy.example", SuppressionReason.BOUNCED, now=utcnow())
    db.session.commit()
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert "grace@navy.example could not be reached before" in page
    assert "Send to grace@navy.example" not in page
    answer = _do(owner, message, "again", to="recipient", words="sent", key=KEY)
    assert answer.status_code == 422
    assert not _copies()
    assert _do(owner, message, "again", to="me", words="sent", key=KEY).status_code == 303


def test_copies_are_budgeted(owner, owe):
    message = owe(status=Status.SENT)
    for number in range(resend.MESSAGE_LIMIT.amount):
        answer = _do(owner, message, "again", to="me", words="sent", key=f"{KEY}{number}")
        assert answer.status_code == 303
    answer = _do(owner, message, "again", to="me", words="sent", key=f"{KEY}-more")
    assert answer.status_code == 422
    assert "Too many copies" in answer.get_data(as_text=True)
    assert len(_copies()) == resend.MESSAGE_LIMIT.amount


@pytest.mark.parametrize("flag", [{"is_test": True}, {"forced_version_id": 1}])
def test_a_test_is_not_sent_again(owner, owe, flag):
    message = owe(status=Status.FAILED, **flag)
    assert _do_raw(owner, message, key=KEY, to="me").status_code == 422
    assert not _copies()


def _do_raw(browser, message, **fields):
    token = csrf_token(browser.get("/deliveries/keep").get_data(as_text=True))
    return browser.post(f"/deliveries/{message.id}/again", data={"csrf_token": token, **fields})


@pytest.mark.parametrize("key", ["", "short", "x" * 50])
def test_a_copy_needs_the_key_of_its_form(owner, owe, key):
    assert _do_raw(owner, owe(status=Status.SENT), key=key, to="me").status_code == 400


def test_a_message_without_an_event_cannot_be_written_anew_and_says_so(owner, owe):
    message = owe(status=Status.SENT)
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    assert "What caused it is not on record" in page
    answer = _do(owner, message, "again", to="me", words="today", key=KEY)
    assert answer.status_code == 422
    assert not _copies()


def test_a_message_is_written_anew_from_what_caused_it(owner):
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
    answer = _do(owner, message, "again", to="recipient", words="today", key=KEY)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    (copy,) = _copies()
    assert "Brightleaf Reborn" in copy.text
    assert "Purchase" in owner.get(f"/deliveries/{copy.id}").get_data(as_text=True), "what caused the origin"


# -- many at once


def _order(browser, query: str):
    page = browser.get(f"/deliveries/orders/new?{query}").get_data(as_text=True)
    fields = re.findall(r'name="([a-z_]+)" value="([^"]*)"', page.partition("<main")[2])
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    return page, values


def _give(browser, query: str) -> BulkAction:
    _, fields = _order(browser, query)
    answer = browser.post("/deliveries/orders", data=fields)
    assert answer.status_code == 303
    assert browser.post("/deliveries/orders", data=fields).location == answer.location, "sent twice is one"
    return db.session.get(BulkAction, int(answer.location.rpartition("/")[2]))


def test_all_that_match_are_counted_then_tried_again(owner, owe):
    failed = [owe(status=Status.FAILED) for _ in range(7)]
    other = owe(status=Status.FAILED, kind="approved")
    page, _ = _order(owner, "action=retry&all=1&status=failed&kind=new-sign-up")
    assert "Try again: 7 emails" in page
    order = _give(owner, "action=retry&all=1&status=failed&kind=new-sign-up")
    assert 'data-live="on"' in owner.get(f"/deliveries/orders/{order.id}").get_data(as_text=True)
    bulk_actions.run(order.id)
    assert {_state(one) for one in failed} == {Status.QUEUED}
    assert _state(other) is Status.FAILED
    db.session.refresh(order)
    assert (order.state, order.done, order.changed) == (State.DONE, 7, 7)
    page = owner.get(f"/deliveries/orders/{order.id}").get_data(as_text=True)
    assert "7 emails get a new start" in page
    assert 'data-live="off"' in page


def test_an_order_goes_on_in_batches_where_it_was_and_spares_what_came_later(owner, owe, monkeypatch):
    monkeypatch.setattr(bulk_actions, "BATCH", 2)
    rows = [owe() for _ in range(5)]
    order = _give(owner, "action=cancel&all=1&status=queued")
    late = owe()
    assert bulk_actions._run_batch(order.id, utcnow())
    db.session.refresh(order)
    assert (order.state, order.changed) == (State.RUNNING, 2)
    assert bulk_actions.find_due_work(utcnow()) == [("bulk-action", order.id)]
    bulk_actions.run(order.id)
    assert {_state(one) for one in rows} == {Status.CANCELLED}
    assert _state(late) is Status.QUEUED
    assert bulk_actions.find_due_work(utcnow()) == []


def test_chosen_messages_alone_are_meant_and_those_of_others_never(owner, stranger, owe):
    mine, spared, theirs = owe(), owe(), owe("copperpot")
    order = _give(owner, f"action=cancel&id={mine.id}&id={theirs.id}&id=x")
    bulk_actions.run(order.id)
    assert [_state(one) for one in (mine, spared, theirs)] == [Status.CANCELLED, Status.QUEUED, Status.QUEUED]
    assert stranger.get(f"/deliveries/orders/{order.id}").status_code == 404
    token = csrf_token(stranger.get("/deliveries/keep").get_data(as_text=True))
    stop = stranger.post(f"/deliveries/orders/{order.id}/stop", data={"csrf_token": token})
    assert stop.status_code == 404


def test_what_is_on_hold_is_released_as_a_whole(owner, owe):
    row = owe()
    hold(account_of().id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    order = _give(owner, "action=release&all=1&status=held")
    bulk_actions.run(order.id)
    assert _state(row) is Status.QUEUED
    assert db.session.get(Queue, account_of().id).held_at is None


def test_an_order_can_be_stopped(owner, owe):
    row = owe()
    order = _give(owner, "action=cancel&all=1")
    owner.submit(f"/deliveries/orders/{order.id}/stop", {}, page=f"/deliveries/orders/{order.id}")
    bulk_actions.run(order.id)
    assert _state(row) is Status.QUEUED
    db.session.refresh(order)
    assert order.state is State.STOPPED


def test_an_order_about_nothing_is_not_given(owner, owe):
    owe(status=Status.SENT)
    assert owner.get("/deliveries/orders/new?action=retry").status_code == 303
    assert owner.get("/deliveries/orders/new?action=burn&all=1").status_code == 404
    page, _ = _order(owner, "action=cancel&all=1&status=failed")
    assert "None of these emails can be cancelled" in page


def test_the_way_of_a_message_is_told_in_order(owner, owe, tried):
    start = utcnow() - timedelta(hours=3)
    message = owe(status=Status.SENT, created_at=start, settled_at=start + timedelta(hours=2))
    tried(message, Outcome.DEFERRED, 1, started_at=start, ended_at=start + timedelta(minutes=1))
    tried(message, Outcome.ACCEPTED, 2, ended_at=start + timedelta(hours=2), queue_id="4Xyz")
    page = owner.get(f"/deliveries/{message.id}").get_data(as_text=True)
    said = ["It was written and queued", "Attempt 1 was put off", "Attempt 2 was accepted", "queue id 4Xyz"]
    places = [page.index(words) for words in said]
    assert places == sorted(places)
