"""Ten lines at which a worker is killed with SIGKILL, each for several messages, and what the server was given."""

import os
import signal
import socket

import pytest

from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import ConnectionLease, Outcome, Status
from portal.smtp.server import Limits
from tests.conftest import make_config
from tests.outbox import kill_points
from tests.outbox.support import (
    attempts,
    enqueue_message,
    honest,
    message,
    message_ids,
    start_worker,
    wait_for,
)
from tests.smtp.badserver import ehlo_reply, receive_message

pytestmark = pytest.mark.thorough

PATIENT = Limits(deadline=10.0, connect=1.0, greeting=10.0, reply=10.0)
TIMES = 3  # messages, and so kills, at each line


@pytest.fixture
def config(request, tmp_path):
    """A lease that is soon over, so that each death is soon made good; a long story takes its time."""
    lease = 8.0 if "body" in request.node.name else 1.0
    return make_config(tmp_path / "instance", lease=lease, limits=PATIENT)


def beats():
    """The processes that gave a sign of life, the dead included, in the order in which they began."""
    db.session.rollback()
    found = list(db.session.scalars(db.select(WorkerHeartbeat.pid).order_by(WorkerHeartbeat.started_at)))
    db.session.rollback()
    return found


def leases_taken():
    found = db.session.scalar(db.select(db.func.count()).select_from(ConnectionLease))
    db.session.rollback()
    return found


class Hangman:
    """A mail server that kills, in the middle of a word, whoever hands a message in for the first time."""

    def __init__(self):
        self.due = False
        self.pid = 0

    def strikes(self, number=signal.SIGKILL):
        due, self.due = self.due, False
        if due:
            os.kill(self.pid, number)
        return due

    def before(self, reply):
        def answer(peer, _line):
            self.strikes()
            peer.send(reply)

        return answer

    def after(self, reply):
        """The reply is there to be read, and nothing can come of it any more."""

        def answer(peer, line):
            if self.due:
                os.kill(self.pid, signal.SIGSTOP)
            if reply.startswith(b"354") and not self.due:
                receive_message(peer)
                peer.send(OK)
                return
            peer.send(reply)
            self.strikes()

        return answer

    def in_the_body(self, peer, _line):
        """The body is longer than what two systems hold for those who do not read."""
        if not self.due:
            receive_message(peer)
            peer.send(OK)
            return
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        peer.send(b"354 go ahead\r\n")
        peer.receive(b"A long story")
        self.strikes()
        peer.disconnect()


OK = b"250 2.0.0 Ok\r\n"
LONG = "A long story.\n" * 400_000  # 6 MB
OFFER = (b"8BITMIME", b"ENHANCEDSTATUSCODES", b"AUTH PLAIN LOGIN")  # any size
BY_THE_SERVER = {
    "after the greeting": (lambda one: {"EHLO": one.before(ehlo_reply(OFFER))}, 1),
    "after MAIL": (lambda one: {"MAIL": one.after(OK)}, 1),
    "after 354": (lambda one: {"DATA": one.after(b"354 go ahead\r\n")}, 1),
    "in the middle of the body": (lambda one: {"DATA": one.in_the_body}, 1),
    "after the final dot, before the reply": (lambda one: {"DOT": one.before(OK)}, 2),
}
BY_ITSELF = {
    "before the claim is committed": (1, [Outcome.ACCEPTED]),
    "before it connects": (1, [Outcome.INTERRUPTED, Outcome.ACCEPTED]),
    "after the reply, before the log": (2, [Outcome.INTERRUPTED, Outcome.ACCEPTED]),
    "after the log, before the commit": (1, [Outcome.ACCEPTED]),
    "after the commit": (1, [Outcome.ACCEPTED]),
}


def test_ten_lines_are_named():
    assert len(BY_THE_SERVER) + len(BY_ITSELF) == 10
    assert BY_ITSELF.keys() == kill_points.KILL_POINTS.keys()


@pytest.mark.parametrize("line", BY_THE_SERVER)
def test_a_worker_killed_in_the_middle_of_a_word(app, config, serve, account, line):
    hangman, (answers, copies) = Hangman(), BY_THE_SERVER[line]
    server = serve(honest(answers=answers(hangman), offers=OFFER))
    text = LONG if "body" in line else "Hello"
    worker = start_worker(config, {account: server.port}, respawns=True)
    try:
        for number in range(TIMES):
            hangman.pid = newcomer(number)
            hangman.due = True
            id_ = enqueue_message(account, f"m{number}", text=text)
            settled(id_, copies, [Outcome.INTERRUPTED, Outcome.ACCEPTED], server)
            assert not hangman.due
    finally:
        end(worker)
    assert len(server.messages) == TIMES * copies


@pytest.mark.parametrize("line", BY_ITSELF)
def test_a_worker_killed_between_two_lines_of_its_own(app, config, serve, account, line):
    copies, outcomes = BY_ITSELF[line]
    server = serve()
    worker = start_worker(config, {account: server.port}, kill_point=line)
    try:
        for number in range(TIMES):
            newcomer(number)
            id_ = enqueue_message(account, f"m{number}")
            settled(id_, copies, outcomes, server)
            wait_for((config.instance / f"killed-{id_}").exists)
    finally:
        end(worker)
    assert len(server.messages) == TIMES * copies


def newcomer(dead: int) -> int:
    """Wait for the worker that took the place of the last one that died, and for its connection to be left; its id."""
    wait_for(lambda: len(beats()) == dead + 1)
    wait_for(lambda: not leases_taken())
    return beats()[-1]


def settled(id_, copies, outcomes, server):
    wait_for(lambda: message(id_).status is Status.SENT)
    found = attempts(id_)
    assert [one.outcome for one in found] == outcomes
    assert [one.ambiguous for one in found] == [one is Outcome.INTERRUPTED for one in outcomes]
    assert message_ids(server).count(message(id_).message_id) == copies, "twins have the same Message-ID"


def end(worker):
    worker.terminate()
    try:
        assert worker.wait() == 0
    finally:
        worker.kill()
