"""Bulk actions: preview, batches, scope, release and stop."""

from __future__ import annotations

import re

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.deliveries import bulk_actions
from portal.deliveries.filters import Filters
from portal.deliveries.models import Action, BulkAction, BulkActionState
from portal.outbox.models import Queue, Status
from portal.outbox.queue import hold
from tests.pages import csrf_token

from .conftest import WRONG_PASSWORD, account_of, status_of, submit

pytestmark = pytest.mark.both_databases
KEY = "a-key-of-a-form"


def _preview(browser, query: str):
    """Return the page that previews a bulk action, and the fields of its form."""
    page = browser.get(f"/deliveries/orders/new?{query}").get_data(as_text=True)
    fields = re.findall(r'name="([a-z_]+)" value="([^"]*)"', page.partition("<main")[2])
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    return page, values


def _create(browser, query: str) -> BulkAction:
    """Create a bulk action through its form."""
    _, fields = _preview(browser, query)
    response = browser.post("/deliveries/orders", data=fields)
    assert response.status_code == 303
    assert browser.post("/deliveries/orders", data=fields).location == response.location, "repeating the form"
    return db.session.get(BulkAction, int(response.location.rpartition("/")[2]))


def test_cancelled_messages_are_retried_singly_and_in_bulk(owner, enqueue):
    one, other = enqueue(status=Status.CANCELLED), enqueue(status=Status.CANCELLED)
    assert submit(owner, one, "retry").status_code == 303
    assert (status_of(one), status_of(other)) == (Status.QUEUED, Status.CANCELLED)
    action = bulk_actions.create(
        account_of().id, Action.RETRY, bulk_actions.Scope(Filters(), [other.id]), key=KEY, now=utcnow()
    )
    bulk_actions.run(action.id)
    assert status_of(other) is Status.QUEUED


def test_all_matching_messages_are_counted_then_retried(owner, enqueue):
    failed = [enqueue(status=Status.FAILED) for _ in range(7)]
    other = enqueue(status=Status.FAILED, kind="approved")
    page, _ = _preview(owner, "action=retry&all=1&status=failed&kind=new-sign-up")
    assert "Try again: 7 emails" in page
    action = _create(owner, "action=retry&all=1&status=failed&kind=new-sign-up")
    assert 'data-live="on"' in owner.get(f"/deliveries/orders/{action.id}").get_data(as_text=True)
    bulk_actions.run(action.id)
    assert {status_of(message) for message in failed} == {Status.QUEUED}
    assert status_of(other) is Status.FAILED
    db.session.refresh(action)
    assert (action.state, action.done, action.changed) == (BulkActionState.DONE, 7, 7)
    page = owner.get(f"/deliveries/orders/{action.id}").get_data(as_text=True)
    assert "7 emails will be retried" in page
    assert 'data-live="off"' in page


def test_the_preview_counts_what_the_action_changes(owner, enqueue):
    for status in (Status.SENT, Status.SENT, Status.FAILED, Status.FAILED, Status.QUEUED, Status.HELD):
        enqueue(status=status)
    enqueue(status=Status.FAILED, text="")  # its text was removed
    assert "Cancel: 2 emails" in _preview(owner, "action=cancel&all=1")[0]
    assert "Cancel: 1 email<" in _preview(owner, "action=cancel&all=1&status=held")[0]
    assert "Try again: 2 emails" in _preview(owner, "action=retry&all=1")[0], (
        "a queued one leaves at once anyway"
    )


def test_a_bulk_action_resumes_at_its_cursor_and_skips_newer_messages(owner, enqueue, monkeypatch):
    monkeypatch.setattr(bulk_actions, "BATCH", 2)
    rows = [enqueue() for _ in range(5)]
    action = _create(owner, "action=cancel&all=1&status=queued")
    newer = enqueue()
    assert bulk_actions._run_batch(action.id, utcnow())
    db.session.refresh(action)
    assert (action.state, action.changed) == (BulkActionState.RUNNING, 2)
    assert bulk_actions.find_due_work(utcnow()) == [("bulk-action", action.id)]
    bulk_actions.run(action.id)
    assert {status_of(message) for message in rows} == {Status.CANCELLED}
    assert status_of(newer) is Status.QUEUED
    assert bulk_actions.find_due_work(utcnow()) == []


def test_only_selected_messages_of_the_own_account_are_changed(owner, stranger, enqueue):
    mine, unselected, theirs = enqueue(), enqueue(), enqueue("copperpot")
    action = _create(owner, f"action=cancel&id={mine.id}&id={theirs.id}&id=x")
    bulk_actions.run(action.id)
    statuses = [status_of(message) for message in (mine, unselected, theirs)]
    assert statuses == [Status.CANCELLED, Status.QUEUED, Status.QUEUED]
    assert stranger.get(f"/deliveries/orders/{action.id}").status_code == 404
    token = csrf_token(stranger.get("/deliveries/keep").get_data(as_text=True))
    stop = stranger.post(f"/deliveries/orders/{action.id}/stop", data={"csrf_token": token})
    assert stop.status_code == 404


def test_a_queue_on_hold_is_released_as_a_whole(owner, enqueue):
    row = enqueue()
    hold(account_of().id, WRONG_PASSWORD, now=utcnow())
    db.session.commit()
    action = _create(owner, "action=release&all=1&status=held")
    bulk_actions.run(action.id)
    assert status_of(row) is Status.QUEUED
    assert db.session.get(Queue, account_of().id).held_at is None


def test_a_bulk_action_can_be_stopped(owner, enqueue):
    row = enqueue()
    action = _create(owner, "action=cancel&all=1")
    owner.submit(f"/deliveries/orders/{action.id}/stop", {}, page=f"/deliveries/orders/{action.id}")
    bulk_actions.run(action.id)
    assert status_of(row) is Status.QUEUED
    db.session.refresh(action)
    assert action.state is BulkActionState.STOPPED


def test_a_bulk_action_on_no_messages_is_not_created(owner, enqueue):
    enqueue(status=Status.SENT)
    assert owner.get("/deliveries/orders/new?action=retry").status_code == 303
    assert owner.get("/deliveries/orders/new?action=burn&all=1").status_code == 404
    page, _ = _preview(owner, "action=cancel&all=1&status=failed")
    assert "You cannot cancel any of these emails" in page
