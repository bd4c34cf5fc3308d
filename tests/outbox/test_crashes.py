"""The durable promise: a worker may die, freeze or be stopped at any line, and nothing is lost or settled twice."""

import threading
import time

import pytest

from portal.outbox.models import Outcome, Status
from portal.outbox.sending.drain import drain_queue
from portal.smtp.server import Limits
from tests.conftest import make_config
from tests.databases import lock_against_writers
from tests.outbox.support import (
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    honest,
    in_context,
    message,
    message_ids,
    new_account,
    run_in_thread,
    start_drain,
    start_worker,
    statuses,
    subjects,
    wait_for,
)
from tests.smtp.badserver import mute

pytestmark = pytest.mark.thorough

LEASE = 1.0
LIMITS = Limits(deadline=0.8, connect=0.5, greeting=0.8, reply=0.8)
PATIENT = Limits(deadline=10.0, connect=1.0, greeting=10.0, reply=10.0)


@pytest.fixture
def config(tmp_path, tuning):
    """A worker waits longer than its lease here, so that it is surely killed and not merely in time."""
    return make_config(tmp_path / "instance", lease=LEASE, limits=PATIENT, tuning=tuning)


@pytest.fixture
def killed(app, config, serve, routes, account):
    """Owe a message, let a real worker get as far as the script lets it, and kill it there."""

    def until_killed(script, reached):
        server = serve(script)
        routes.send_to(account, server, limits=PATIENT)
        id_ = enqueue_message(account, "m")
        worker = start_worker(config, {account: server.port})
        try:
            wait_for(lambda: reached(server, id_))
        finally:
            worker.kill()
        server.script = honest()
        return server, id_

    return until_killed


def logged_replies(config):
    """Return the acceptance logs of this instance that hold a reply."""
    return [path for path in (config.instance / "accepted").iterdir() if b'"reply"' in path.read_bytes()]


def arrives(account, id_):
    def drained():
        drain_queue(account)
        return message(id_).status is Status.SENT

    wait_for(drained)


def test_a_worker_killed_before_it_speaks_loses_nothing(killed, account):
    server, id_ = killed(lambda peer: peer.read_until_closed(), lambda server, _: server.connections)
    assert drain_queue(account) == 0, "the lease still stands"
    arrives(account, id_)
    assert len(server.messages) == 1
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


def test_a_worker_killed_after_the_recipient_was_accepted_loses_nothing(killed, account):
    server, id_ = killed(answering(RCPT=mute), lambda server, _: b"RCPT TO" in bytes(server.received))
    arrives(account, id_)
    assert len(server.messages) == 1
    assert attempts(id_)[0].outcome is Outcome.INTERRUPTED


def test_a_twin_of_a_worker_killed_before_the_reply_is_recognised_by_its_message_id(killed, account):
    server, id_ = killed(answering(DOT=mute), lambda server, _: server.messages)
    arrives(account, id_)
    first, second = message_ids(server)
    assert first == second
    assert [(one.outcome, one.ambiguous) for one in attempts(id_)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]
    assert message(id_).attempts == 2


def test_a_worker_killed_between_the_reply_and_the_settlement_sends_no_twin(killed, account, config):
    """What was accepted is in the journal: whoever drains next on this machine settles it."""
    locks = []

    def lock_then_accept(peer, _line):
        locks.append(lock_against_writers(config))
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")
        wait_for(lambda: logged_replies(config))  # now it has the reply, and waits for the lock
        peer.server.accepted = True
        peer.read_until_closed()

    server, id_ = killed(
        answering(DOT=lock_then_accept), lambda server, _: getattr(server, "accepted", False)
    )
    locks[0].close()
    arrives(account, id_)
    assert len(server.messages) == 1
    (one,) = attempts(id_)
    assert (one.outcome, one.queue_id, one.ambiguous) == (Outcome.ACCEPTED, "1", False)


def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_wakes(app, serve, routes, account):
    wake_up, frozen = threading.Event(), []

    def freeze_once(peer, _line):
        if not frozen:
            frozen.append(True)
            wake_up.wait(8)
            peer.send(b"550 5.6.0 Refused\r\n")  # a verdict that must not count any more
        else:
            peer.send(b"250 2.0.0 Ok: queued as 2\r\n")

    server = serve(answering(DOT=freeze_once))
    routes.send_to(account, server, limits=PATIENT)
    id_ = enqueue_message(account, "m")
    sleeper = threading.Thread(target=in_context(app, drain_queue, account))
    sleeper.start()
    wait_for(lambda: frozen)
    arrives(account, id_)
    settled = message(id_).settled_at
    wake_up.set()
    sleeper.join(5)
    row = message(id_)
    assert (row.status, row.settled_at) == (Status.SENT, settled)
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


@pytest.mark.tuning(lease_renew_fraction=0.0)  # as if much time had passed
def test_a_worker_frozen_before_it_speaks_finds_that_the_message_is_another_s_by_now(app, server, account):
    id_ = enqueue_message(account, "m")
    frozen = start_drain(account)
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert len(server.messages) == 1
    frozen.run_claimed()
    assert len(server.messages) == 1, "it looks once more before it speaks"
    assert message(id_).status is Status.SENT
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


@pytest.mark.tuning(lease_renew_fraction=0.0)
def test_a_worker_that_lost_its_slot_claims_nothing_more(app, server, account):
    for number in range(3):
        enqueue_message(account, f"m{number}", recipient="one@example.net")
    stale = start_drain(account)
    expire_leases(account)
    other = start_drain(account)
    stale.run_claimed()
    assert server.messages == []
    assert count_leases(account) == 1, "nor does it give back what is another's"
    other.run_claimed()
    assert subjects(server) == ["Welcome, m0", "Welcome, m1", "Welcome, m2"]


def test_a_worker_asked_to_stop_finishes_the_message_in_hand(app, config, serve, account):
    def slowly(peer, _line):
        peer.pause(0.5)
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    server = serve(answering(DOT=slowly))
    for number in range(3):
        enqueue_message(account, f"m{number}")
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(lambda: server.messages)
        worker.terminate()
        assert worker.wait() == 0
    finally:
        worker.kill()
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.QUEUED]
    assert subjects(server) == ["Welcome, m0"]
    assert count_leases(account) == 0


def test_a_second_signal_ends_the_worker_at_once(app, config, serve, account):
    server = serve(answering(DOT=mute))
    id_ = enqueue_message(account, "m")
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(lambda: server.messages)
        worker.terminate()
        time.sleep(0.3)
        assert worker.process.poll() is None, "the message in hand is waited for"
        worker.terminate()
        started = time.monotonic()
        assert worker.wait() == 1
        assert time.monotonic() - started < 1
    finally:
        worker.kill()
    assert message(id_).status is Status.SENDING


def test_the_mute_server_of_one_account_delays_nobody_else(app, config, serve, account):
    other = new_account("Copperpot")
    silent, fine = serve(lambda peer: peer.read_until_closed()), serve()
    enqueue_message(account, "stuck")
    worker = start_worker(config, {account: silent.port, other: fine.port}, threads=2)
    try:
        wait_for(lambda: silent.connections)
        started = time.monotonic()
        for number in range(5):
            enqueue_message(other, f"m{number}")
        wait_for(lambda: len(fine.messages) == 5)
        assert time.monotonic() - started < 2
    finally:
        worker.kill()
    assert message(1).status is Status.SENDING
