"""Faults from outside: a stopped process, a clock step, a full disk, messages that cause internal errors."""

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import event

from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import Outcome, Status
from portal.outbox.queue import hold, release
from portal.outbox.sending.drain import drain_queue
from portal.outbox.sending.message import AccountMessage
from portal.smtp.server import Limits
from tests.conftest import make_config
from tests.databases import assert_no_open_transaction
from tests.outbox.support import (
    PATIENCE_S,
    answering,
    attempts,
    count_leases,
    enqueue_message,
    in_context,
    join,
    message,
    message_ids,
    queue,
    start_drain,
    start_worker,
    statuses,
    subjects,
    wait_for,
)

pytestmark = pytest.mark.thorough

# The lease really expires here, and the limits are shorter than it, as in every configuration: a worker that resumes
# after its lease has exceeded the deadline of its session, too.
LEASE_S = 20.0
LIMITS = Limits(deadline=16.0, connect=16.0, greeting=16.0, reply=16.0)


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=LIMITS)


# -- a stopped process


class StoppingServer:
    """The script of a mail server that stops the worker process at one command of its first session."""

    def __init__(self, config):
        self.config = config
        self.pid = 0  # of the worker
        self.has_stopped = threading.Event()
        self.may_reply = threading.Event()

    def __call__(self, reply):
        def answer(peer, _line):
            if self.has_stopped.is_set():
                peer.send(reply)
                return
            self.stop_worker()
            self.has_stopped.set()
            self.may_reply.wait(PATIENCE_S)
            peer.send(reply)

        return answer

    def stop_worker(self):
        """Stop the process, but not while one of its threads is writing, as SQLite has a single writer."""
        while True:
            os.kill(self.pid, signal.SIGSTOP)
            wait_for(lambda: process_state(self.pid) == "T")
            try:
                return assert_no_open_transaction(self.config)
            except (sqlite3.OperationalError, AssertionError):
                os.kill(self.pid, signal.SIGCONT)
                time.sleep(0.01)  # lets it finish the transaction


def process_state(pid):
    """Return the state letter of proc_pid_stat(5); T means stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    ("verb", "reply", "copies"),
    [
        ("MAIL", b"250 2.1.0 Ok\r\n", 1),
        ("RCPT", b"250 2.1.5 Ok\r\n", 1),
        ("DOT", b"250 2.0.0 Ok: queued as 1\r\n", 2),
        ("DOT", b"550 5.6.0 Refused\r\n", 2),
    ],
)
def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_when_it_resumes(
    app, config, serve, routes, account, verb, reply, copies
):
    stopping = StoppingServer(config)
    server = serve(answering(**{verb: stopping(reply)}))
    routes.send_to(account, server)
    worker = start_worker(config, {account: server.port})
    stopping.pid = worker.process.pid
    try:
        id_ = enqueue_message(account, "m")
        assert stopping.has_stopped.wait(PATIENCE_S)
        server.script = answering()

        def is_taken_over():
            drain_queue(account)
            return message(id_).status is Status.SENT

        wait_for(is_taken_over)
        before = recorded(id_)
        stopping.may_reply.set()
        os.kill(stopping.pid, signal.SIGCONT)
        other = enqueue_message(account, "other")
        wait_for(lambda: message(other).status is Status.SENT)
        worker.terminate()
        assert worker.wait() == 0, "all its drains have ended"
    finally:
        os.kill(stopping.pid, signal.SIGCONT) if worker.process.poll() is None else None
        worker.kill()
    assert recorded(id_) == before
    ids = [one for one in message_ids(server) if one == message(id_).message_id]
    assert len(ids) == copies
    assert [(one.outcome, one.ambiguous) for one in attempts(id_)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]
    assert count_leases(account) == 0


def recorded(id_):
    """Return what is recorded of a message and of its attempts."""
    row = message(id_)
    results = [(one.outcome, one.ambiguous, one.ended_at, one.queue_id) for one in attempts(id_)]
    return row.status, row.attempts, row.settled_at, row.lease_token, row.next_attempt_at, results


# -- clocks


def test_a_clock_step_of_an_hour_either_way_loses_and_repeats_no_message(app, config, serve, account):
    """The clock of the machine is set, and so the clocks of all its processes, while two workers send."""
    server = serve(answering(DOT=lambda peer, _: (time.sleep(0.02), peer.send(b"250 2.0.0 Ok\r\n"))))
    workers = [start_worker(config, {account: server.port}, clock_steps=True) for _ in range(2)]
    ids = []
    try:
        for hours in (0, 1, 0, -1, 0):
            (config.instance / "clock").write_text(str(hours))
            with time_machine.travel(utcnow() + timedelta(hours=hours), tick=True):
                ids += [
                    enqueue_message(account, f"m{len(ids)}-{n}", recipient=f"r{n % 7}@example.net")
                    for n in range(15)
                ]
            half = len(ids) - 8
            wait_for(lambda half=half: len(server.messages) > half)  # so the next step happens during a drain
        wait_for(lambda: set(statuses(account)) == {Status.SENT})
        for worker in workers:
            worker.terminate()
        assert [worker.wait() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert Counter(message_ids(server)).most_common(1)[0][1] == 1
    assert len(server.messages) == len(ids)
    assert {len(attempts(id_)) for id_ in ids} == {1}
    assert count_leases(account) == 0


# -- a full disk


def test_a_drain_waits_while_the_disk_is_full_and_loses_and_repeats_no_message(
    app, config, serve, routes, account, database, caplog
):
    if database == "postgresql":
        pytest.skip("PostgreSQL writes its files itself; a database that is away is tested elsewhere")
    disk = Disk()
    server = serve(
        answering(DOT=lambda peer, _: (disk.fill(), peer.send(b"250 2.0.0 " + b"Ok " * 90 + b"\r\n")))
    )
    routes.send_to(account, server)
    ids = [enqueue_message(account, f"m{number}") for number in range(40)]
    event.listen(db.engine, "begin", disk.limit_pages)
    worker = threading.Thread(target=in_context(app, drain_queue, account))
    try:
        worker.start()
        wait_for(lambda: "database unavailable" in caplog.text)
        before = disk.transactions
        wait_for(lambda: disk.transactions >= before + 3)  # the drain has retried
        assert len(server.messages) < 40
        assert "database or disk is full" in caplog.text
        assert worker.is_alive()
        assert caplog.text.count("database unavailable") == 1, "logged once"
    finally:
        disk.has_space = True
        join(worker)
        event.remove(db.engine, "begin", disk.limit_pages)
    assert set(statuses(account)) == {Status.SENT}
    assert len(server.messages) == 40, "messages that were accepted meanwhile are not sent again"
    assert {len(attempts(id_)) for id_ in ids} == {1}
    assert {message(id_).attempts for id_ in ids} == {1}


class Disk:
    """Limits the pages of the database file as a full disk does, from ``fill`` until ``has_space`` is set."""

    def __init__(self):
        self.is_full = self.has_space = False
        self.transactions = 0

    def fill(self):
        self.is_full = True

    def limit_pages(self, connection):
        self.transactions += 1
        cursor = connection.connection.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        limit = pages if self.is_full and not self.has_space else 1 << 30
        cursor.execute(f"PRAGMA max_page_count = {limit}")
        cursor.close()


# -- internal errors


def test_messages_that_cause_internal_errors_stop_no_others(app, server, account, monkeypatch):
    outgoing, count, bad = AccountMessage.outgoing, 60, {1, 30, 59}

    def fail_for_bad(self):
        if "bad" in str(self.subject):
            raise RecursionError("an internal error")
        return outgoing(self)

    monkeypatch.setattr(AccountMessage, "outgoing", fail_for_bad)
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        for number in range(count):
            enqueue_message(account, f"{'bad' if number in bad else 'good'}{number}")
        drain_queue(account)
        assert Counter(statuses(account)) == {Status.SENT: count - len(bad), Status.QUEUED: len(bad)}
        for _ in range(4):
            clock.shift(timedelta(hours=1))
            drain_queue(account)
    assert Counter(statuses(account)) == {Status.SENT: count - len(bad), Status.FAILED: len(bad)}
    assert not any("bad" in one for one in subjects(server))
    assert queue(account).held_at is None
    assert {len(attempts(number + 1)) for number in bad} == {3}


# -- a released queue


def test_a_released_queue_sends_one_message_and_ramps_up(app, serve, routes, account):
    """Held messages are due all at once, so the number of connections bounds how fast they are sent."""
    server = serve()
    routes.send_to(account, server)
    for number in range(60):
        enqueue_message(account, f"m{number}")
    hold(account, {"code": "auth-refused", "cause": "The password was refused."}, now=utcnow())
    db.session.commit()
    release(account)
    db.session.commit()
    drain = start_drain(account)
    assert len(drain.claims) == 1
    limits = []
    while drain.current is not None:
        drain.send_current()
        limits.append(queue(account).ramp_limit)
    assert list(dict.fromkeys(limits)) == [1, 2, 4, None]
    assert set(statuses(account)) == {Status.SENT}
