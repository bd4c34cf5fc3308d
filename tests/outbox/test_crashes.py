"""Crash safety: a worker may be killed, frozen or stopped at any point; no message is lost or settled twice."""

import threading

import pytest

from portal.outbox.models import Outcome, Status
from portal.outbox.sending.drain import drain_queue
from portal.smtp.server import Limits
from tests.conftest import make_config
from tests.databases import lock_against_writers
from tests.outbox.support import (
    LEASE_S,
    PATIENCE_S,
    answering,
    attempts,
    count_leases,
    enqueue_message,
    expire_leases,
    honest,
    in_context,
    join,
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

# Longer than a test waits for anything: a worker stays where the script of its server holds it.
NO_LIMITS = Limits(deadline=600.0, connect=600.0, greeting=600.0, reply=600.0)


@pytest.fixture
def config(tmp_path, tuning):
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=NO_LIMITS, tuning=tuning)


@pytest.fixture
def kill_worker(app, config, serve, routes, account):
    """Enqueue a message, run a real worker until a condition holds, and kill it there.

    The function returns the server, which accepts everything from then on, and the id of the message.
    """

    def run_until(script, reached):
        server = serve(script)
        routes.send_to(account, server)
        id_ = enqueue_message(account, "m")
        worker = start_worker(config, {account: server.port})
        try:
            wait_for(lambda: reached(server, id_))
        finally:
            worker.kill()
        server.script = honest()
        return server, id_

    return run_until


def logged_replies(config):
    """Return the acceptance logs of this instance that hold a reply."""
    return [path for path in (config.instance / "accepted").iterdir() if b'"reply"' in path.read_bytes()]


def send_after_lease(account, id_):
    """Let the leases of the crashed worker expire, and drain the queue until the message is sent."""

    def is_sent():
        drain_queue(account)
        return message(id_).status is Status.SENT

    expire_leases(account)
    wait_for(is_sent)


def test_a_worker_killed_before_the_greeting_loses_no_message(kill_worker, account):
    server, id_ = kill_worker(lambda peer: peer.read_until_closed(), lambda server, _: server.connections)
    assert drain_queue(account) == 0, "the lease is not over"
    send_after_lease(account, id_)
    assert len(server.messages) == 1
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


def test_a_worker_killed_after_rcpt_loses_no_message(kill_worker, account):
    server, id_ = kill_worker(answering(RCPT=mute), lambda server, _: b"RCPT TO" in bytes(server.received))
    send_after_lease(account, id_)
    assert len(server.messages) == 1
    assert attempts(id_)[0].outcome is Outcome.INTERRUPTED


def test_a_possible_duplicate_of_a_worker_killed_before_the_reply_has_the_same_message_id(
    kill_worker, account
):
    server, id_ = kill_worker(answering(DOT=mute), lambda server, _: server.messages)
    send_after_lease(account, id_)
    first, second = message_ids(server)
    assert first == second
    assert [(one.outcome, one.ambiguous) for one in attempts(id_)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]
    assert message(id_).attempts == 2


def test_a_worker_killed_between_the_reply_and_the_settlement_causes_no_duplicate(
    kill_worker, account, config
):
    """The acceptance is in the acceptance log: the next drain on this machine settles the message by it."""
    locks = []

    def lock_then_accept(peer, _line):
        locks.append(lock_against_writers(config))
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")
        wait_for(lambda: logged_replies(config))  # the worker has the reply, and waits for the lock
        peer.server.accepted = True
        peer.read_until_closed()

    server, id_ = kill_worker(
        answering(DOT=lock_then_accept), lambda server, _: getattr(server, "accepted", False)
    )
    locks[0].close()
    send_after_lease(account, id_)
    assert len(server.messages) == 1
    (one,) = attempts(id_)
    assert (one.outcome, one.queue_id, one.ambiguous) == (Outcome.ACCEPTED, "1", False)


def test_a_worker_frozen_past_its_lease_changes_nothing_when_it_resumes(app, serve, routes, account):
    may_reply, frozen = threading.Event(), []

    def reply_late_once(peer, _line):
        if not frozen:
            frozen.append(True)
            may_reply.wait(PATIENCE_S)
            peer.send(b"550 5.6.0 Refused\r\n")  # a reply that must not count any more
        else:
            peer.send(b"250 2.0.0 Ok: queued as 2\r\n")

    server = serve(answering(DOT=reply_late_once))
    routes.send_to(account, server, limits=NO_LIMITS)
    id_ = enqueue_message(account, "m")
    frozen_drain = threading.Thread(target=in_context(app, drain_queue, account))
    frozen_drain.start()
    wait_for(lambda: frozen)
    send_after_lease(account, id_)
    settled = message(id_).settled_at
    may_reply.set()
    join(frozen_drain)
    row = message(id_)
    assert (row.status, row.settled_at) == (Status.SENT, settled)
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


@pytest.mark.tuning(lease_renew_fraction=0.0)  # as if much time had passed
def test_a_worker_frozen_before_it_connects_finds_that_its_claim_is_lost(app, server, account):
    id_ = enqueue_message(account, "m")
    frozen = start_drain(account)
    expire_leases(account)
    run_in_thread(app, drain_queue, account)
    assert len(server.messages) == 1
    frozen.run_claimed()
    assert len(server.messages) == 1, "it verifies its lease before it connects"
    assert message(id_).status is Status.SENT
    assert [one.outcome for one in attempts(id_)] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


@pytest.mark.tuning(lease_renew_fraction=0.0)
def test_a_drain_that_lost_its_lease_claims_nothing_more(app, server, account):
    for number in range(3):
        enqueue_message(account, f"m{number}", recipient="one@example.net")
    stale = start_drain(account)
    expire_leases(account)
    other = start_drain(account)
    stale.run_claimed()
    assert server.messages == []
    assert count_leases(account) == 1, "it does not release the lease of the other drain"
    other.run_claimed()
    assert subjects(server) == ["Welcome, m0", "Welcome, m1", "Welcome, m2"]


def test_a_stopping_worker_finishes_the_message_that_it_is_sending(app, config, serve, account):
    may_reply = threading.Event()

    def reply_late(peer, _line):
        may_reply.wait(PATIENCE_S)
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    server = serve(answering(DOT=reply_late))
    for number in range(3):
        enqueue_message(account, f"m{number}")
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(lambda: server.messages)
        worker.terminate()
        worker.wait_until_stopping()
        may_reply.set()
        assert worker.wait() == 0
    finally:
        worker.kill()
    assert statuses(account) == [Status.SENT, Status.QUEUED, Status.QUEUED]
    assert subjects(server) == ["Welcome, m0"]
    assert count_leases(account) == 0


def test_a_second_signal_ends_a_worker_that_waits_for_a_reply(app, config, serve, account):
    server = serve(answering(DOT=mute))
    id_ = enqueue_message(account, "m")
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(lambda: server.messages)
        worker.terminate()
        worker.wait_until_stopping()
        assert worker.process.poll() is None, "it waits for the reply"
        worker.terminate()
        assert worker.wait() == 1
    finally:
        worker.kill()
    assert message(id_).status is Status.SENDING


def test_an_account_whose_server_never_replies_delays_no_other_account(app, config, serve, account):
    other = new_account("Copperpot")
    mute_server, server = serve(lambda peer: peer.read_until_closed()), serve()
    id_ = enqueue_message(account, "stuck")
    worker = start_worker(config, {account: mute_server.port, other: server.port}, threads=2)
    try:
        wait_for(lambda: mute_server.connections)
        for number in range(5):
            enqueue_message(other, f"m{number}")
        wait_for(lambda: len(server.messages) == 5)
        assert message(id_).status is Status.SENDING, "its time limit is not over"
    finally:
        worker.kill()
