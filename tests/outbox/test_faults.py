"""What befalls a worker from outside: it is stopped for a while, its clock is set, its disk is full, a mail is poison."""

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from datetime import timedelta

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
from portal.tuning import Tuning
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

LEASE = 8.0
LIMITS = Limits(
    deadline=6.4, connect=6.4, greeting=6.4, reply=6.4
)  # shorter than the lease, as in every configuration


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", lease=LEASE, limits=LIMITS)


# -- stopped and woken


class Sandman:
    """A mail server that stops the worker at a word, once, and lets a later client speak on."""

    def __init__(self, config):
        self.config = config
        self.pid = 0
        self.asleep = threading.Event()
        self.awake = threading.Event()

    def __call__(self, reply):
        def answer(peer, _line):
            if self.asleep.is_set():
                peer.send(reply)
                return
            self.stop()
            self.asleep.set()
            self.awake.wait(PATIENCE_S)
            peer.send(reply)

        return answer

    def stop(self):
        """Stop it, but not while another of its threads is writing: then nobody could write any more."""
        while True:
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(0.05)
            try:
                return assert_no_open_transaction(self.config)
            except (sqlite3.OperationalError, AssertionError):
                os.kill(self.pid, signal.SIGCONT)
                time.sleep(0.01)


@pytest.mark.parametrize(
    ("verb", "reply", "copies"),
    [
        ("MAIL", b"250 2.1.0 Ok\r\n", 1),
        ("RCPT", b"250 2.1.5 Ok\r\n", 1),
        ("DOT", b"250 2.0.0 Ok: queued as 1\r\n", 2),
        ("DOT", b"550 5.6.0 Refused\r\n", 2),
    ],
)
def test_a_worker_stopped_past_its_lease_and_woken_changes_nothing(
    app, config, serve, routes, account, verb, reply, copies
):
    sandman = Sandman(config)
    server = serve(answering(**{verb: sandman(reply)}))
    routes.send_to(account, server, limits=LIMITS)
    worker = start_worker(config, {account: server.port})
    sandman.pid = worker.process.pid
    try:
        id_ = enqueue_message(account, "m")
        assert sandman.asleep.wait(PATIENCE_S)
        server.script = answering()

        def taken_over():
            drain_queue(account)
            return message(id_).status is Status.SENT

        wait_for(taken_over)
        before = row_of(id_)
        sandman.awake.set()
        os.kill(sandman.pid, signal.SIGCONT)
        other = enqueue_message(account, "other")
        wait_for(lambda: message(other).status is Status.SENT)
        time.sleep(1.0)  # whatever it may still do to the first
        assert row_of(id_) == before
        worker.terminate()
        assert worker.wait() == 0
    finally:
        os.kill(sandman.pid, signal.SIGCONT) if worker.process.poll() is None else None
        worker.kill()
    assert row_of(id_) == before
    ids = [one for one in message_ids(server) if one == message(id_).message_id]
    assert len(ids) == copies
    assert [(one.outcome, one.ambiguous) for one in attempts(id_)] == [
        (Outcome.INTERRUPTED, True),
        (Outcome.ACCEPTED, False),
    ]
    assert count_leases(account) == 0


def row_of(id_):
    row = message(id_)
    told = [(one.outcome, one.ambiguous, one.ended_at, one.queue_id) for one in attempts(id_)]
    return row.status, row.attempts, row.settled_at, row.lease_token, row.next_attempt_at, told


# -- clocks


def test_a_clock_that_steps_by_an_hour_either_way_loses_nothing_and_repeats_nothing(
    app, config, serve, account
):
    """The machine's clock, and with it that of everybody on it, while two workers send."""
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
            wait_for(lambda half=half: len(server.messages) > half)  # the next step comes in the middle of it
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


def test_a_full_disk_under_the_database_is_told_and_waited_for_and_burns_no_attempts(
    app, config, serve, routes, account, database, caplog
):
    if database == "postgresql":
        pytest.skip("its files are its own affair; that it is away is tested elsewhere")
    room = Room()
    server = serve(
        answering(DOT=lambda peer, _: (room.fill(), peer.send(b"250 2.0.0 " + b"Ok " * 90 + b"\r\n")))
    )
    routes.send_to(account, server)
    ids = [enqueue_message(account, f"m{number}") for number in range(40)]
    event.listen(db.engine, "begin", room.bound)
    worker = threading.Thread(target=in_context(app, drain_queue, account))
    try:
        worker.start()
        wait_for(lambda: "database unavailable" in caplog.text)
        time.sleep(3 * Tuning().database_retry_s)  # it retries meanwhile
        stopped = len(server.messages)
        assert stopped < 40
        assert "database or disk is full" in caplog.text
        assert worker.is_alive(), "it waits"
        assert caplog.text.count("database unavailable") == 1, "logged once"
    finally:
        room.mended = True
        join(worker)
        event.remove(db.engine, "begin", room.bound)
    assert set(statuses(account)) == {Status.SENT}
    assert len(server.messages) == 40, "what was accepted while nothing could be written is not sent again"
    assert {len(attempts(id_)) for id_ in ids} == {1}
    assert {message(id_).attempts for id_ in ids} == {1}


class Room:
    """What the disk has left: nothing any more once it is full, until it is mended."""

    def __init__(self):
        self.full = self.mended = False

    def fill(self):
        self.full = True

    def bound(self, connection):
        cursor = connection.connection.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages if self.full and not self.mended else 1 << 30}")
        cursor.close()


# -- poison


@pytest.mark.parametrize(("many", "bad"), [(60, 3)])
def test_a_few_poisonous_messages_among_many_stop_none_of_the_others(
    app, server, account, monkeypatch, many, bad
):
    honest = AccountMessage.outgoing

    def stumble(self):
        if "poison" in str(self.subject):
            raise RecursionError("a fault of ours")
        return honest(self)

    monkeypatch.setattr(AccountMessage, "outgoing", stumble)
    poisonous = {1, many // 2, many - 1}
    assert len(poisonous) == bad
    with time_machine.travel("2026-05-04 10:00:00+00:00", tick=False) as clock:
        for number in range(many):
            enqueue_message(account, f"{'poison' if number in poisonous else 'good'}{number}")
        drain_queue(account)
        assert Counter(statuses(account)) == {Status.SENT: many - bad, Status.QUEUED: bad}
        for _ in range(4):
            clock.shift(timedelta(hours=1))
            drain_queue(account)
    assert Counter(statuses(account)) == {Status.SENT: many - bad, Status.FAILED: bad}
    assert not any("poison" in one for one in subjects(server))
    assert queue(account).held_at is None
    assert {len(attempts(number + 1)) for number in poisonous} == {3}


# -- a herd


def test_a_released_queue_begins_with_one_probe_and_opens_step_by_step(app, serve, routes, account):
    """Held messages are not spread by time: what lets a herd out is the width of its gate."""
    server = serve()
    routes.send_to(account, server)
    for number in range(60):
        enqueue_message(account, f"m{number}")
    hold(account, {"code": "auth-refused", "cause": "The password was refused."}, now=moment_now())
    db.session.commit()
    release(account)
    db.session.commit()
    probe = start_drain(account)
    assert len(probe.claims) == 1, "one message"
    at_once = []
    while probe.current is not None:
        probe.send_current()
        at_once.append(queue(account).ramp_limit)
    assert list(dict.fromkeys(at_once)) == [1, 2, 4, None]
    assert set(statuses(account)) == {Status.SENT}


def test_accounts_that_met_the_same_outage_do_not_all_come_back_at_once(app, account):
    from portal.outbox import retry

    for troubles in (1, 2, 5):
        seconds = Counter(int(retry.delay(troubles).total_seconds()) for _ in range(20_000))
        assert max(seconds.values()) <= 0.05 * 20_000


def moment_now():
    from portal.clock import utcnow

    return utcnow()
