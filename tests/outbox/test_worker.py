"""Worker processes: hanging servers, a stopped process, several workers, a CPU, and the choice of queues."""

import os
import signal
import time

import pytest

from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import Status
from portal.smtp.server import Limits
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.outbox.support import (
    LEASE_S,
    count_leases,
    enqueue_message,
    new_account,
    start_worker,
    statuses,
    wait_for,
)

pytestmark = pytest.mark.thorough

# Longer than a test waits for anything: a session with a server that hangs does not end.
NO_LIMITS = Limits(deadline=600.0, connect=600.0, greeting=600.0, reply=600.0)


@pytest.fixture
def config(tmp_path):
    """Drains close their connections at once, so a message is not sent over an idle one."""
    tuning = Tuning(idle_s=0.0)
    return make_config(tmp_path / "instance", lease=LEASE_S, limits=NO_LIMITS, tuning=tuning)


def heartbeats():
    """Return process id -> time of the last heartbeat of all workers."""
    db.session.rollback()
    rows = db.session.execute(db.select(WorkerHeartbeat.pid, WorkerHeartbeat.seen_at)).all()
    db.session.rollback()
    return {row.pid: row.seen_at for row in rows}


def wait_for_heartbeat(worker):
    before = heartbeats().get(worker.process.pid)
    wait_for(lambda: heartbeats().get(worker.process.pid) != before)


def wait_for_sweep(worker):
    """Wait until a worker has made a complete sweep, which follows each heartbeat."""
    for _ in range(2):
        wait_for_heartbeat(worker)


def test_more_hanging_servers_than_threads_delay_no_healthy_server(app, config, serve, account):
    healthy = serve()
    hanging = serve(lambda peer: peer.read_until_closed())
    accounts = [new_account(f"Silent{number}") for number in range(8)]
    ports = {account: healthy.port} | dict.fromkeys(accounts, hanging.port)
    worker = start_worker(config, ports, threads=2)
    try:
        enqueue_message(account, "first")
        wait_for(lambda: len(healthy.messages) == 1)
        for id_ in accounts:
            enqueue_message(id_, f"stuck{id_}")
        wait_for(lambda: hanging.connections >= 4)
        for number in range(5):
            enqueue_message(account, f"m{number}")
        wait_for(lambda: len(healthy.messages) == 6)
    finally:
        worker.kill()


def test_servers_that_begin_to_hang_do_not_block_the_threads(app, config, serve, account):
    healthy, hanging = serve(), serve()
    accounts = [new_account(f"Silent{number}") for number in range(6)]
    ports = {account: healthy.port} | dict.fromkeys(accounts, hanging.port)
    worker = start_worker(config, ports, threads=2)
    try:
        for id_ in (account, *accounts):
            enqueue_message(id_, f"first{id_}")
        wait_for(lambda: len(healthy.messages) + len(hanging.messages) == 7)
        wait_for(lambda: not any(count_leases(id_) for id_ in (account, *accounts)))
        hanging.script = lambda peer: peer.read_until_closed()
        for id_ in accounts:
            enqueue_message(id_, f"stuck{id_}")
        enqueue_message(account, "later")
        wait_for(lambda: len(healthy.messages) == 2)
    finally:
        worker.kill()


def test_a_worker_that_was_stopped_for_a_while_continues(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port})
    try:
        wait_for_heartbeat(worker)
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(3 * config.sweep)  # so that its wait for the next sweep is over when it continues
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
        wait_for(lambda: len(heartbeats()) == 2)
        for number in range(10):
            enqueue_message(account, f"m{number}")
        wait_for(lambda: len(server.messages) == 10)
        for worker in workers:
            worker.terminate()
        assert [worker.wait() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert heartbeats() == {}
    assert set(statuses(account)) == {Status.SENT}


def test_a_worker_with_a_cpu_runs_on_it_alone(app, config):
    (cpu, *_) = sorted(os.sched_getaffinity(0))
    worker = start_worker(config, {}, cpu=cpu)
    try:
        wait_for_heartbeat(worker)
        assert os.sched_getaffinity(worker.process.pid) == {cpu}
    finally:
        worker.kill()


def test_a_worker_for_checks_sends_no_mail(app, config, serve, account):
    server = serve()
    worker = start_worker(config, {account: server.port}, queues=["checks"])
    try:
        wait_for_heartbeat(worker)
        enqueue_message(account, "m")
        wait_for_sweep(worker)
        assert server.connections == 0
    finally:
        worker.kill()
    mail = start_worker(config, {account: server.port}, queues=["mail"])
    try:
        wait_for(lambda: len(server.messages) == 1)
        wait_for(lambda: count_leases(account) == 0)
    finally:
        mail.kill()
