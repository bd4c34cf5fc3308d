"""The worker's processes, threads and queues: who serves whom, and how it all ends."""

import os
import signal
import time

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


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def seconds_for(count: int, account: int, server) -> float:
    """How long so many messages take from being owed to being taken."""
    before, started = len(server.messages), time.monotonic()
    for number in range(count):
        enqueue_message(account, f"m{before + number}")
    wait_for(lambda: len(server.messages) == before + count)
    return time.monotonic() - started


def test_more_servers_that_hang_than_threads_delay_no_healthy_one(app, config, serve, account):
    fine = serve()
    silent = serve(lambda peer: peer.listen())
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
        turning.script = lambda peer: peer.listen()
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


def test_several_processes_share_the_work_and_end_politely_together(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port}, processes=2)
    try:
        wait_for(lambda: len(beats()) == 2)
        children = beats()
        for number in range(10):
            enqueue_message(account, f"m{number}")
        wait_for(lambda: len(server.messages) == 10)
        worker.terminate()
        assert worker.wait() == 0
    finally:
        worker.kill()
    assert beats() == []
    assert not any(map(is_running, children))
    assert set(statuses(account)) == {Status.SENT}


def test_a_process_that_dies_is_replaced(app, config, serve, account):
    worker = start_worker(config, {account: 1}, processes=2)
    try:
        wait_for(lambda: len(beats()) == 2)
        first = beats()[0]
        os.kill(first, 9)
        wait_for(lambda: len(beats()) == 3)
    finally:
        worker.terminate()
        assert worker.wait() == 0


def test_a_second_signal_ends_all_processes_at_once(app, config, serve, account):
    server = serve(answering(DOT=mute))
    worker = start_worker(config, {account: server.port}, processes=2)
    try:
        enqueue_message(account, "m")
        wait_for(lambda: server.messages)
        children = beats()
        worker.terminate()
        time.sleep(1)
        worker.terminate()
        assert worker.wait() == 1
        wait_for(lambda: not any(map(is_running, children)))
    finally:
        worker.kill()


def test_processes_end_by_themselves_when_their_parent_is_gone(app, config, serve, account):
    worker = start_worker(config, {account: 1}, processes=2)
    wait_for(lambda: len(beats()) == 2)
    children = beats()
    worker.kill()
    wait_for(lambda: not any(map(is_running, children)))


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
