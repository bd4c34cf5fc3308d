"""The dispatcher keeps an idle connection while enough connections are free, and does not wait for an idle drain."""

import threading
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import ConnectionLease, Status
from portal.outbox.queue import get_queue
from portal.outbox.sending import deliver
from portal.outbox.sending.dispatcher import Dispatcher
from portal.outbox.store.sql import get_store
from tests.databases import lock_against_writers
from tests.outbox.support import (
    answering,
    count_leases,
    enqueue_message,
    honest,
    message,
    statuses,
    wait_for,
)

# An idle drain stays until the test ends it, and no drain counts as slow or stalled.
_NO_TIMEOUTS = {
    "idle_s": 600.0,
    "help_after_s": 600.0,
    "stalled_after_s": 600.0,
    "second_connection_min_s": 600.0,
}
no_timeouts = pytest.mark.tuning(**_NO_TIMEOUTS)


@pytest.fixture
def dispatcher(app, account):
    """A dispatcher; the account's server counts as healthy."""
    get_queue(account).healthy = True
    db.session.commit()
    found = Dispatcher(app, 8)
    yield found
    deliver.stopping.set()
    found.close()
    deliver.stopping.clear()


def all_sent(account, count):
    return statuses(account) == [Status.SENT] * count


def is_idle(dispatcher):
    """Whether there is one drain, and it is idle."""
    return [drain.idle.is_set() for drain in dispatcher.running()] == [True]


@no_timeouts
def test_messages_that_arrive_within_the_idle_time_use_the_same_connection(dispatcher, server, account):
    for number in range(3):
        enqueue_message(account, f"m{number}")
        dispatcher.serve(account)
        wait_for(lambda count=number + 1: all_sent(account, count) and is_idle(dispatcher))
    assert server.connections == 1
    assert count_leases(account) == 1


@no_timeouts
def test_the_lease_of_an_idle_drain_is_short_in_case_the_worker_crashes(dispatcher, server, account, tuning):
    enqueue_message(account, "m")
    dispatcher.serve(account)
    wait_for(lambda: is_idle(dispatcher))
    (until,) = db.session.scalars(db.select(ConnectionLease.lease_until)).all()
    db.session.rollback()
    assert until - utcnow() <= timedelta(seconds=2 * tuning.idle_s)


@no_timeouts
def test_serving_a_queue_does_not_wait_for_an_idle_drain(dispatcher, server, account):
    enqueue_message(account, "m")
    dispatcher.serve(account)  # if it waited for the drain, it would return after ten minutes
    wait_for(lambda: is_idle(dispatcher))


@no_timeouts
def test_an_idle_drain_finds_work_whose_job_was_not_pushed(dispatcher, server, account):
    enqueue_message(account, "first")
    dispatcher.serve(account)
    wait_for(lambda: is_idle(dispatcher))
    enqueue_message(account, "second")
    wait_for(lambda: all_sent(account, 2))
    assert server.connections == 1


@pytest.mark.tuning(**_NO_TIMEOUTS, idle_poll_s=600.0)
@pytest.mark.parametrize("is_pushed", [True, False])
def test_messages_that_arrive_during_a_drain_are_batched_until_a_job_is_pushed(
    dispatcher, serve, routes, account, monkeypatch, is_pushed
):
    store = get_store()
    batches, claim_batch = [], store.claim_batch

    def enqueue_another(peer, _line):
        if len(batches) == 1:
            with dispatcher._app.app_context():
                enqueue_message(account, "second")
            if is_pushed:
                dispatcher.serve(account)
        peer.send(b"250 2.0.0 Ok\r\n")

    monkeypatch.setattr(store, "claim_batch", lambda *a, **k: batches.append(1) or claim_batch(*a, **k))
    routes.send_to(account, serve(answering(DOT=enqueue_another)))
    enqueue_message(account, "first")
    dispatcher.serve(account)
    if not is_pushed:
        wait_for(lambda: statuses(account) == [Status.SENT, Status.QUEUED] and is_idle(dispatcher))
        assert len(batches) == 1
        dispatcher.serve(account)
    wait_for(lambda: all_sent(account, 2))


@pytest.mark.tuning(idle_s=0.1)
def test_after_the_idle_time_a_drain_closes_its_connection_and_releases_its_lease(
    dispatcher, server, account
):
    enqueue_message(account, "m")
    dispatcher.serve(account)
    wait_for(lambda: not dispatcher.running())
    assert count_leases(account) == 0
    enqueue_message(account, "later")
    dispatcher.serve(account)
    wait_for(lambda: all_sent(account, 2))
    assert server.connections == 2


@no_timeouts
def test_a_stopping_worker_does_not_wait_for_an_idle_drain(dispatcher, server, account):
    enqueue_message(account, "m")
    dispatcher.serve(account)
    wait_for(lambda: is_idle(dispatcher))
    deliver.stopping.set()
    dispatcher.close()  # if it waited for the idle time, it would return after ten minutes
    assert count_leases(account) == 0


@no_timeouts
def test_a_connection_that_the_server_closed_while_idle_is_replaced(dispatcher, serve, routes, account):
    closed = threading.Event()

    def close_once(peer):
        if closed.is_set():
            honest()(peer)
            return
        honest(
            answers={
                "DOT": lambda one, _line: (one.send(b"250 2.0.0 Ok\r\n"), closed.set(), one.disconnect())
            }
        )(peer)

    server = serve(close_once)
    routes.send_to(account, server)
    enqueue_message(account, "first")
    dispatcher.serve(account)
    wait_for(closed.is_set)
    id_ = enqueue_message(account, "second")
    dispatcher.serve(account)
    wait_for(lambda: all_sent(account, 2))
    assert server.connections == 2
    assert message(id_).attempts == 1


@no_timeouts
def test_a_drain_does_not_idle_if_too_many_connections_are_in_use(app, server, account):
    get_queue(account).healthy = True
    db.session.commit()
    dispatcher = Dispatcher(app, 1)
    enqueue_message(account, "m")
    dispatcher.serve(account)
    wait_for(lambda: not dispatcher.running())
    assert count_leases(account) == 0
    dispatcher.close()


@pytest.mark.tuning(**_NO_TIMEOUTS | {"help_after_s": 0.0, "stalled_after_s": 0.0})
def test_an_account_has_one_drain_that_waits_for_the_database(dispatcher, server, account, config):
    """Each of them would hold a thread and a connection, until the database accepts none any more."""
    enqueue_message(account, "m")
    locked = lock_against_writers(config)
    try:
        for _ in range(5):
            dispatcher.serve(account)
        assert len(dispatcher.running()) == 1
    finally:
        locked.close()
    wait_for(lambda: all_sent(account, 1))
