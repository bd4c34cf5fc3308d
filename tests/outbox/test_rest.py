"""A connection is kept for a moment in which more may come, in nobody's way, and given up in order."""

import threading
import time
from datetime import timedelta

import pytest

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import ConnectionLease, Status
from portal.outbox.queue import get_queue
from portal.outbox.sending import deliver, drain
from portal.outbox.sending.dispatcher import Lanes
from tests.outbox.support import answering, count_leases, enqueue_message, honest, message, statuses, wait_for


@pytest.fixture
def lanes(app, account):
    """Lanes in which the account's server has answered before."""
    get_queue(account).healthy = True
    db.session.commit()
    found = Lanes(app, 8)
    yield found
    deliver.stopping.set()
    found.close()
    deliver.stopping.clear()


@pytest.fixture
def long_rest(monkeypatch):
    monkeypatch.setattr(drain, "_REST", 30.0)


def sent(account, count):
    return statuses(account) == [Status.SENT] * count


def at_rest(lanes):
    return [one.at_rest.is_set() for drains in lanes._at_work.values() for one in drains] == [True]


def test_what_comes_soon_after_leaves_over_the_same_connection(lanes, server, account, long_rest):
    for number in range(3):
        enqueue_message(account, f"m{number}")
        lanes.serve(account)
        wait_for(lambda count=number + 1: sent(account, count) and at_rest(lanes), within=5)
    assert server.connections == 1
    assert count_leases(account) == 1


def test_a_worker_that_dies_at_rest_holds_the_slot_for_moments_only(lanes, server, account):
    enqueue_message(account, "m")
    lanes.serve(account)
    wait_for(lambda: at_rest(lanes), within=5)
    (until,) = db.session.scalars(db.select(ConnectionLease.lease_until)).all()
    db.session.rollback()
    assert until - utcnow() <= timedelta(seconds=4)


def test_whoever_waits_for_a_drain_is_let_go_when_it_rests(lanes, server, account, long_rest):
    enqueue_message(account, "m")
    began = time.monotonic()
    lanes.serve(account)
    assert time.monotonic() - began < 1
    assert at_rest(lanes)


def test_work_that_nobody_told_of_is_seen(lanes, server, account, long_rest):
    enqueue_message(account, "first")
    lanes.serve(account)
    wait_for(lambda: at_rest(lanes), within=5)
    enqueue_message(account, "second")
    wait_for(lambda: sent(account, 2), within=3)
    assert server.connections == 1


@pytest.mark.parametrize("told", [True, False])
def test_what_comes_while_a_drain_works_is_gathered_until_somebody_tells_of_it(
    lanes, serve, routes, account, long_rest, monkeypatch, told
):
    monkeypatch.setattr(drain, "_GLANCE", 30.0)
    looks, claim = [], drain.claims.claim_batch

    def owes_another(peer, _line):
        if len(looks) == 1:
            with lanes._app.app_context():
                enqueue_message(account, "second")
            if told:
                lanes.serve(account)
        peer.say(b"250 2.0.0 Ok\r\n")

    monkeypatch.setattr(drain.claims, "claim_batch", lambda *a, **k: looks.append(1) or claim(*a, **k))
    routes.send_to(account, serve(answering(DOT=owes_another)))
    enqueue_message(account, "first")
    lanes.serve(account)
    wait_for(lambda: at_rest(lanes) and Status.SENDING not in statuses(account), within=5)
    if not told:
        assert statuses(account) == [Status.SENT, Status.QUEUED]
        assert len(looks) == 1
        lanes.serve(account)
    wait_for(lambda: sent(account, 2), within=5)


def test_after_its_rest_a_drain_takes_leave_and_gives_its_slot_back(lanes, server, account, monkeypatch):
    monkeypatch.setattr(drain, "_REST", 0.1)
    enqueue_message(account, "m")
    lanes.serve(account)
    wait_for(lambda: not lanes._at_work, within=5)
    assert count_leases(account) == 0
    enqueue_message(account, "later")
    lanes.serve(account)
    wait_for(lambda: sent(account, 2), within=5)
    assert server.connections == 2


def test_a_worker_that_ends_waits_for_nobody_at_rest(app, lanes, server, account, long_rest):
    enqueue_message(account, "m")
    lanes.serve(account)
    wait_for(lambda: at_rest(lanes), within=5)
    deliver.stopping.set()
    began = time.monotonic()
    lanes.close()
    assert time.monotonic() - began < 2
    assert count_leases(account) == 0


def test_a_server_that_hung_up_meanwhile_is_dialled_again(lanes, serve, routes, account, long_rest):
    hung_up = threading.Event()

    def once(peer):
        if hung_up.is_set():
            honest()(peer)
            return
        honest(
            answers={"DOT": lambda one, _line: (one.say(b"250 2.0.0 Ok\r\n"), hung_up.set(), one.hang_up())}
        )(peer)

    server = serve(once)
    routes.send_to(account, server)
    enqueue_message(account, "first")
    lanes.serve(account)
    assert hung_up.wait(5)
    ident = enqueue_message(account, "second")
    lanes.serve(account)
    wait_for(lambda: sent(account, 2), within=5)
    assert server.connections == 2
    assert message(ident).attempts == 1


def test_where_many_are_at_work_nobody_rests(app, server, account, long_rest):
    get_queue(account).healthy = True
    db.session.commit()
    narrow = Lanes(app, 1)
    enqueue_message(account, "m")
    narrow.serve(account)
    wait_for(lambda: not narrow._at_work, within=5)
    assert count_leases(account) == 0
    narrow.close()
