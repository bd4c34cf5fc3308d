"""Ten points at which a worker is killed with SIGKILL, each for several messages, and what the server received."""

import os
import signal
import socket

import pytest

from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import ConnectionLease, Outcome, Status
from tests.conftest import make_config
from tests.outbox import kill_points
from tests.outbox.support import (
    LEASE_S,
    LIMITS,
    attempts,
    enqueue_message,
    expire_leases,
    honest,
    message,
    message_ids,
    start_worker,
    wait_for,
)
from tests.smtp.badserver import ehlo_reply, receive_message

pytestmark = pytest.mark.thorough

MESSAGES = 3  # and so kills, at each point


@pytest.fixture
def config(tmp_path):
    """Leases do not end by themselves during a test: it lets that of a killed worker expire."""
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=LIMITS)


def worker_pids():
    """Return the process ids of all workers, including killed ones, in the order in which they started."""
    db.session.rollback()
    found = list(db.session.scalars(db.select(WorkerHeartbeat.pid).order_by(WorkerHeartbeat.started_at)))
    db.session.rollback()
    return found


def count_all_leases():
    found = db.session.scalar(db.select(db.func.count()).select_from(ConnectionLease))
    db.session.rollback()
    return found


class KillingServer:
    """The scripts of a mail server that kills the worker within a session, once each time it is armed."""

    def __init__(self):
        self.is_armed = False
        self.killed = 0  # workers
        self.pid = 0

    def kill(self):
        if self.is_armed:
            self.is_armed = False
            os.kill(self.pid, signal.SIGKILL)
            self.killed += 1

    def before(self, reply):
        def answer(peer, _line):
            self.kill()
            peer.send(reply)

        return answer

    def after(self, reply):
        """Kill the worker when the reply is in its socket; it is stopped before, so that it does not react."""

        def answer(peer, _line):
            if self.is_armed:
                os.kill(self.pid, signal.SIGSTOP)
            if reply.startswith(b"354") and not self.is_armed:
                receive_message(peer)
                peer.send(OK)
                return
            peer.send(reply)
            self.kill()

        return answer

    def within_the_body(self, peer, _line):
        """Kill the worker while it writes a body that is larger than the socket buffers of both sides."""
        if not self.is_armed:
            receive_message(peer)
            peer.send(OK)
            return
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        peer.send(b"354 go ahead\r\n")
        peer.receive(b"A long text")
        self.kill()
        peer.disconnect()


OK = b"250 2.0.0 Ok\r\n"
LONG_TEXT = "A long text.\n" * 400_000  # 5 MB
OFFER = (b"8BITMIME", b"ENHANCEDSTATUSCODES", b"AUTH PLAIN LOGIN")  # any size
# Point -> (answers of the server, how often each message is received)
BY_SERVER = {
    "after the greeting": (lambda one: {"EHLO": one.before(ehlo_reply(OFFER))}, 1),
    "after MAIL": (lambda one: {"MAIL": one.after(OK)}, 1),
    "after 354": (lambda one: {"DATA": one.after(b"354 go ahead\r\n")}, 1),
    "within the body": (lambda one: {"DATA": one.within_the_body}, 1),
    "after the final dot, before the reply": (lambda one: {"DOT": one.before(OK)}, 2),
}
# Point -> (how often each message is received, the outcomes of its attempts)
BY_ITSELF = {
    "before the claim is committed": (1, [Outcome.ACCEPTED]),
    "before it connects": (1, [Outcome.INTERRUPTED, Outcome.ACCEPTED]),
    "after the reply, before the log": (2, [Outcome.INTERRUPTED, Outcome.ACCEPTED]),
    "after the log, before the commit": (1, [Outcome.ACCEPTED]),
    "after the commit": (1, [Outcome.ACCEPTED]),
}


def test_all_kill_points_are_tested():
    assert len(BY_SERVER) + len(BY_ITSELF) == 10
    assert BY_ITSELF.keys() == kill_points.KILL_POINTS.keys()


@pytest.mark.parametrize("point", BY_SERVER)
def test_a_worker_killed_within_a_session(app, config, serve, account, point):
    killing, (answers, copies) = KillingServer(), BY_SERVER[point]
    server = serve(honest(answers=answers(killing), offers=OFFER))
    text = LONG_TEXT if "body" in point else "Hello"
    worker = start_worker(config, {account: server.port}, respawns=True)
    try:
        for number in range(MESSAGES):
            killing.pid = wait_for_new_worker(number)
            killing.is_armed = True
            id_ = enqueue_message(account, f"m{number}", text=text)
            wait_for(lambda count=number + 1: killing.killed == count)
            expire_leases(account)
            assert_sent(id_, copies, [Outcome.INTERRUPTED, Outcome.ACCEPTED], server)
    finally:
        end(worker)
    assert len(server.messages) == MESSAGES * copies


@pytest.mark.parametrize("point", BY_ITSELF)
def test_a_worker_killed_between_two_of_its_statements(app, config, serve, account, point):
    copies, outcomes = BY_ITSELF[point]
    server = serve()
    worker = start_worker(config, {account: server.port}, kill_point=point)
    try:
        for number in range(MESSAGES):
            wait_for_new_worker(number)
            id_ = enqueue_message(account, f"m{number}")
            wait_for((config.instance / f"killed-{id_}").exists)
            if Outcome.INTERRUPTED in outcomes:  # else the message is free, or settled by the acceptance log
                expire_leases(account)
            assert_sent(id_, copies, outcomes, server)
    finally:
        end(worker)
    assert len(server.messages) == MESSAGES * copies


def wait_for_new_worker(killed: int) -> int:
    """Wait until the last of the killed workers is replaced and no connection is leased; return the process id."""
    wait_for(lambda: len(worker_pids()) == killed + 1)
    wait_for(lambda: not count_all_leases())
    return worker_pids()[-1]


def assert_sent(id_, copies, outcomes, server):
    wait_for(lambda: message(id_).status is Status.SENT)
    found = attempts(id_)
    assert [one.outcome for one in found] == outcomes
    assert [one.ambiguous for one in found] == [one is Outcome.INTERRUPTED for one in outcomes]
    assert message_ids(server).count(message(id_).message_id) == copies, "duplicates have the same Message-ID"


def end(worker):
    worker.terminate()
    try:
        assert worker.wait() == 0
    finally:
        worker.kill()
