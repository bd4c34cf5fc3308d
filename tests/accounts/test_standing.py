"""Waiting and suspended accounts send nothing and lose nothing; unapproved ones are limited."""

from __future__ import annotations

import pytest

from portal.accounts import standing
from portal.accounts.models import Account
from portal.accounts.standing import AccountState
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from tests.outbox.conftest import account as account
from tests.outbox.conftest import config as config
from tests.outbox.conftest import database_wait as database_wait
from tests.outbox.conftest import routes as routes
from tests.outbox.conftest import serve as serve
from tests.outbox.conftest import server as server
from tests.outbox.support import enqueue_message, message

pytestmark = pytest.mark.both_databases


@pytest.fixture
def _early_in_a_window():
    """Replace the fixture of the same name: a drain needs a clock that runs."""


def change(account_id: int, **values: object) -> None:
    row = db.session.get_one(Account, account_id)
    for name, value in values.items():
        setattr(row, name, value)
    db.session.commit()


def status_of(*ids: int) -> list[Status]:
    return [message(one).status for one in ids]


def test_a_suspended_account_sends_nothing_and_resuming_releases_what_waited_once(server, account):
    first = enqueue_message(account, "one")
    assert standing.suspend(account, reason="complaints", now=utcnow())
    second = enqueue_message(account, "two")
    test = enqueue_message(account, "three", is_test=True)
    assert drain_queue(account) == 0
    assert status_of(first, second, test) == [Status.QUEUED] * 3
    assert standing.resume(account)
    drain_queue(account)
    drain_queue(account)
    assert status_of(first, second, test) == [Status.SENT] * 3
    assert len(server.messages) == 3


def test_a_second_suspension_or_resumption_changes_nothing(account):
    assert standing.suspend(account, reason="complaints", now=utcnow())
    assert not standing.suspend(account, reason="other", now=utcnow())
    assert db.session.get_one(Account, account).suspension_reason == "complaints"
    assert standing.resume(account)
    assert not standing.resume(account)


def test_a_waiting_account_sends_once_it_is_approved(server, account):
    change(account, approved_at=None, is_waiting=True)
    waiting = enqueue_message(account, "one")
    assert drain_queue(account) == 0
    assert standing.approve(account, now=utcnow())
    drain_queue(account)
    assert status_of(waiting) == [Status.SENT]


def test_a_suspended_account_that_was_not_approved_stays_unapproved_when_resumed(account):
    change(account, approved_at=None, is_waiting=True)
    standing.suspend(account, reason="", now=utcnow())
    standing.resume(account)
    assert standing.state_of(db.session.get_one(Account, account)) is AccountState.WAITING
