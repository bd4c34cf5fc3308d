"""The worker's processes, threads and queues: who serves whom, and how it all ends."""

import os
import signal
import time
from pathlib import Path

import pytest

from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import Status
from portal.smtp.server import Limits
from tests.conftest import make_config
from tests.outbox.support import (
    answering,
    count_leases,
    enqueue_message,
    new_account,
    start_worker,
    statuses,
    wait_for,
)
from tests.smtp.badserver import mute

pytestmark = pytest.mark.thorough

PATIENT = Limits(deadline=10.0, connect=1.0, greeting=10.0, reply=10.0)


@pytest.fixture
def config(tmp_path):
    return make_config(tmp_path / "instance", lease=15.0, limits=PATIENT)


def beats() -> list[int]:
    db.session.rollback()
    found = list(db.session.scalars(db.select(WorkerHeartbeat.pid)))
    db.session.rollback()
    return found


def seconds_for(count: int, account: int, server) -> float:
    """How long so many messages take from being owed to being taken."""
    before, started = len(server.messages), time.monotonic()
    for number in range(count):
        enqueue_message(account, f"m{before + number}")
    wait_for(lambda: len(server.messages) == before + count)
    return time.monotonic() - started


def test_more_servers_that_hang_than_threads_delay_no_healthy_one(app, config, serve, account):
    fine = serve()
    silent = serve(lambda peer: peer.read_until_closed())
    hanging = [new_account(f"Silent{number}") for number in range(8)]
    ports = {account: fine.port} | dict.fromkeys(hanging, silent.port)
    worker = start_worker(config, ports, threads=2)
    try:
        enqueue_message(account, "first")
        wait_for(lambda: len(fine.messages) == 1)
        usual = seconds_for(5, account, fine)
        for ident in hanging:
            enqueue_message(ident, f"stuck{ident}")
        wait_for(lambda: silent.connections >= 4)
        assert seconds_for(5, account, fine) < 2 * usual + 3, "one that hangs does so for ten seconds"
    finally:
        worker.kill()


def test_servers_that_answered_last_time_and_hang_now_do_not_keep_the_threads(app, config, serve, account):
    fine, turning = serve(), serve()
    hanging = [new_account(f"Silent{number}") for number in range(6)]
    ports = {account: fine.port} | dict.fromkeys(hanging, turning.port)
    worker = start_worker(config, ports, threads=2)
    try:
        for ident in (account, *hanging):
            enqueue_message(ident, f"first{ident}")
        wait_for(lambda: len(fine.messages) + len(turning.messages) == 7)
        turning.script = lambda peer: peer.read_until_closed()
        for ident in hanging:
            enqueue_message(ident, f"stuck{ident}")
        enqueue_message(account, "behind-them")
        wait_for(lambda: len(fine.messages) == 2)  # 30 s, were each waited for in turn
    finally:
        worker.kill()


def test_a_worker_that_was_stopped_for_a_while_goes_on_when_it_is_woken(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(beats)
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(3 * config.sweep)  # longer than its pulse sleeps
        worker.process.send_signal(signal.SIGCONT)
        enqueue_message(account, "m")
        wait_for(lambda: server.messages)
        worker.terminate()
        assert worker.wait() == 0
    finally:
        worker.kill()


def test_two_workers_share_the_messages_of_an_account(app, config, serve, account):
    server = serve()
    workers = [start_worker(config, {account: server.port}) for _ in range(2)]
    try:
        wait_for(lambda: len(beats()) == 2)
        for number in range(10):
            enqueue_message(account, f"m{number}")
        wait_for(lambda: len(server.messages) == 10)
        for worker in workers:
            worker.terminate()
        assert [worker.wait() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert beats() == []
    assert set(statuses(account)) == {Status.SENT}


def test_a_second_signal_ends_a_worker_at_once(app, config, serve, account):
    server = serve(answering(DOT=mute))
    worker = start_worker(config, {account: server.port})
    try:
        enqueue_message(account, "m")
        wait_for(lambda: server.messages)
        worker.terminate()
        wait_for(lambda: not blocks_signal(worker.process.pid, signal.SIGTERM))
        worker.terminate()
        assert worker.wait() == 1
    finally:
        worker.kill()


def blocks_signal(pid, number):
    """Return whether the main thread of a process blocks a signal, as the worker does until the first one came."""
    line = next(
        one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("SigBlk")
    )
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_a_worker_with_a_cpu_runs_on_it_alone(app, config):
    (cpu, *_) = sorted(os.sched_getaffinity(0))
    worker = start_worker(config, {}, cpu=cpu)
    try:
        wait_for(beats)
        assert os.sched_getaffinity(worker.process.pid) == {cpu}
    finally:
        worker.kill()


def test_a_worker_for_checks_leaves_mail_alone(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port}, queues=["checks"])
    try:
        wait_for(beats)
        enqueue_message(account, "m")
        time.sleep(1)
        assert server.connections == 0
    finally:
        worker.kill()
    mail = start_worker(config, {account: server.port}, queues=["mail"])
    try:
        wait_for(lambda: len(server.messages) == 1)
        wait_for(lambda: count_leases(account) == 0)
    finally:
        mail.kill()
