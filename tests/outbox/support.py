"""Helpers of the outbox tests: routes to scripted servers, queued messages, and a real worker process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, tzinfo
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Engine, event

from portal import clock, create_app
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.config import Config, Record
from portal.db import db, transaction
from portal.db.urls import AUTOCOMMIT_BIND
from portal.jobs import worker
from portal.jobs.backend import QUEUES
from portal.outbox.models import ConnectionLease, DeliveryAttempt, OutboxMessage, Queue, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.routing import Route, Routing
from portal.outbox.sending.drain import Drain
from portal.smtp.network.guard import EgressPolicy, PrivateTarget
from portal.smtp.server import Limits, Secret, Security, Server
from portal.state import get_state
from portal.tuning import Tuning
from tests.conftest import PASSWORD as OWNER_PASSWORD
from tests.conftest import make_config
from tests.outbox import kill_points
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, Script, serve_correctly

SENDER = "info@brightleaf.example"
# So long that no test reaches them, even on a loaded machine. Tests of a limit set their own.
LIMITS = Limits(deadline=90.0, connect=60.0, greeting=60.0, reply=90.0)
LEASE_S = 120.0
PATIENCE_S = 300.0  # until a test gives up waiting for a condition
TLS = Security.IMPLICIT_TLS
ROOT = Path(__file__).parents[2]


def honest(**more: object) -> Script:
    """Return the script of a server with implicit TLS that accepts everything, except for ``answers``."""
    return lambda peer: serve_correctly(peer, security=TLS, **more)  # type: ignore[arg-type]


def answering(**answers: object) -> Script:
    """Return the script of ``honest`` with other answers by verb: ``answering(RCPT=b"550 5.1.1 no\\r\\n")``."""
    return honest(answers=answers)


def route_to(
    port: int, *, sender: str = SENDER, ca: str = "", limits: Limits = LIMITS, **more: object
) -> Route:
    networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    policy = EgressPolicy(
        private_targets=tuple(PrivateTarget(n, port) for n in networks), ca_file=ca or badserver.ca_file()
    )
    secret = Secret(badserver.PASSWORD)
    server = Server("localhost", port, TLS, badserver.USERNAME, secret, policy=policy, limits=limits)
    return Route(server, sender, "Brightleaf", **more)  # type: ignore[arg-type]


@dataclass
class StubRoutes:
    """Resolves the route of an account in place of the settings."""

    by_account: dict[int | None, Callable[[], Route]] = field(default_factory=dict)

    def __call__(self, account_id: int | None, version_id: int | None = None) -> Route:
        return self.by_account[account_id]()

    def send_to(self, account_id: int | None, server: BadServer, **more: object) -> None:
        self.by_account[account_id] = lambda: route_to(server.port, **more)


def new_account(programme: str = "Brightleaf") -> int:
    mailbox = f"owner@{programme.lower()}.example"
    account_id = create_owner(programme, "Ada Fairweather", mailbox, OWNER_PASSWORD, now=utcnow()).account_id
    db.session.commit()
    return account_id


def enqueue_message(account_id: int | None, key: str, **more: object) -> int:
    """Enqueue one message and commit; return its id."""
    values = {
        "kind": "new-sign-up",
        "key": key,
        "recipient": f"{key.replace(':', '-')}@example.net",
        "subject": f"Welcome, {key}",
        "text": f"Hello {key}\n.\nBye\n",
        "html": f"<p>Hello {key}</p>",
    } | more
    row = enqueue_row(account_id, NewMessage(**values), now=utcnow())  # type: ignore[arg-type]
    assert row is not None
    id_ = row.id
    db.session.commit()
    return id_


def start_drain(account_id: int | None) -> Drain:
    """Return a drain that has claimed its batch and recorded its first start, and has submitted nothing."""
    drain = Drain(account_id or 0)
    assert drain.start()
    return drain


def count_leases(account_id: int | None) -> int:
    query = db.select(db.func.count()).where(ConnectionLease.account_id == (account_id or 0))
    return int(_read(query)[0])


def expire_leases(account_id: int | None) -> None:
    """Expire every lease of an account, as if its worker had crashed long ago."""
    ago = utcnow() - timedelta(days=1)
    row = OutboxMessage
    sending = (row.account_id == account_id, row.status == Status.SENDING)
    db.session.execute(db.update(row).where(*sending).values(lease_until=ago))
    db.session.execute(
        db.update(ConnectionLease)
        .where(ConnectionLease.account_id == (account_id or 0))
        .values(lease_until=ago)
    )
    db.session.commit()


def message(id_: int) -> OutboxMessage:
    (row,) = _read(db.select(OutboxMessage).where(OutboxMessage.id == id_))
    return row


def attempts(id_: int) -> list[DeliveryAttempt]:
    query = db.select(DeliveryAttempt).where(DeliveryAttempt.message_id == id_)
    return _read(query.order_by(DeliveryAttempt.number))


def queue(account_id: int | None) -> Queue:
    (row,) = _read(db.select(Queue).where(Queue.account_id == (account_id or 0)))
    return row


def _read(query: Any) -> list[Any]:
    """Read rows in their present state, and end the transaction, so that no writer waits for it."""
    db.session.rollback()
    rows = list(db.session.scalars(query))
    db.session.expunge_all()
    db.session.rollback()
    return rows


def statuses(account_id: int) -> list[Status]:
    query = db.select(OutboxMessage.status).where(OutboxMessage.account_id == account_id)
    return _read(query.order_by(OutboxMessage.id))


def message_ids(server: BadServer) -> list[str]:
    return [re.search(rb"^Message-ID:\s*(\S+)", raw, re.M | re.I)[1].decode() for raw in server.messages]


def subjects(server: BadServer) -> list[str]:
    return [re.search(rb"^Subject: ([^\r]*)", raw, re.M)[1].decode() for raw in server.messages]


def watch_commits(server: BadServer) -> list[int]:
    """Return a list that gets, at each commit of this process, how many messages the server has by then."""
    found: list[int] = []
    db.event.listen(db.engine, "commit", lambda _: found.append(len(server.messages)))
    if AUTOCOMMIT_BIND in db.engines:  # its statements commit themselves, before their connection is returned
        db.event.listen(db.engines[AUTOCOMMIT_BIND], "checkin", lambda *_: found.append(len(server.messages)))
    return found


@contextmanager
def count_statements(*engines: Engine) -> Iterator[list[str]]:
    """Yield a list of the statements on these engines, by default those of transactions, not those that commit themselves."""
    found: list[str] = []
    watched = engines or (db.engine,)

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement)

    for engine in watched:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in watched:
            event.remove(engine, "before_cursor_execute", note)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until the condition is true, however slow the machine is."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"the condition was not met within {PATIENCE_S:.0f} s")


def in_context(app: Flask, job: Callable[..., object], *arguments: object) -> Callable[[], None]:
    """Return the job as a function without arguments that runs in an app context of its own."""

    def run() -> None:
        with app.app_context():
            job(*arguments)

    return run


def run_in_thread(app: Flask, job: Callable[..., object], *arguments: object) -> None:
    """Run a job in another thread and wait for its end."""
    thread = threading.Thread(target=in_context(app, job, *arguments))
    thread.start()
    join(thread)


def run_together(app: Flask, count: int, job: Callable[[int], object]) -> list[object]:
    """Run a job in threads that start together; return the results, with exceptions among them."""
    barrier, results = threading.Barrier(count), []

    def run(number: int) -> None:
        with app.app_context():
            barrier.wait(PATIENCE_S)
            try:
                results.append(job(number))
            except Exception as error:
                results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    join(*threads)
    return results


def join(*threads: threading.Thread) -> None:
    """Wait for threads to end."""
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread did not end"


# -- a worker in a process of its own


@dataclass
class Worker:
    """A real worker process, whose routes lead to the servers of a test."""

    process: subprocess.Popen[str]  # the leader of a process group

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait_until_stopping(self) -> None:
        """Wait until the first stop signal is handled: the main thread then unblocks SIGTERM for a second one."""

        def blocks_sigterm() -> bool:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            mask = int(status.partition("SigBlk:")[2].split()[0], 16)
            return bool(mask >> (signal.SIGTERM - 1) & 1)

        wait_for(lambda: not blocks_sigterm())

    def wait(self) -> int:
        """Wait for the end of the process; return its exit status."""
        return self.process.wait(PATIENCE_S)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker process of a test runs."""

    threads: int = 1
    sweep: float = 0.2  # seconds
    queues: Sequence[str] = QUEUES
    cpu: int | None = None
    respawns: bool = False  # a killed worker is replaced: it is the child of the process
    kill_point: str = ""  # of kill_points.KILL_POINTS; implies respawns
    killed_with: int = 0  # the id of the only message at which it is killed
    clock_steps: bool = False  # its clock and the database's are off by the hours in ``instance/clock``


def start_worker(config: Config, ports: Mapping[int, int], **options: Any) -> Worker:
    """Start a worker whose accounts submit to these ports. ``options`` are those of ``WorkerOptions``."""
    spec = {
        "instance": str(config.instance),
        "ports": {str(account): port for account, port in ports.items()},
        "ca": badserver.ca_file(),
        "lease": config.lease,
        "record": config.record,
        "limits": asdict(config.limits),
        "tuning": asdict(config.tuning),
        "redis": config.redis_url,
        "options": asdict(WorkerOptions(**options)),
    }
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.outbox.support", json.dumps(spec)],
        env=environ,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    return Worker(process)


def _work(spec: dict[str, Any]) -> int:
    options, limits = WorkerOptions(**spec["options"]), Limits(**spec["limits"])
    config = make_config(
        Path(spec["instance"]),
        lease=spec["lease"],
        record=Record(spec["record"]),
        limits=limits,
        sweep=options.sweep,
        worker_threads=options.threads,
        cpu=options.cpu,
        redis_url=spec["redis"],
        tuning=Tuning(**spec["tuning"]),
    )
    app: Flask = create_app(config)
    routes = StubRoutes()
    for account, port in spec["ports"].items():
        routes.by_account[int(account)] = lambda port=port: route_to(port, ca=spec["ca"], limits=limits)
    get_state(app).part(Routing).find = routes
    if options.kill_point:
        kill_points.install(options.kill_point, config.instance, options.killed_with)
    if options.respawns or options.kill_point:
        return _respawn(lambda: worker.run(app))
    if options.clock_steps:
        _step_the_clock(config.instance / "clock")
    return worker.run(app, None, options.queues)


def _respawn(work: Callable[[], int]) -> int:
    """Run ``work`` in a child process, again each time that is killed, and pass SIGTERM on. Return its exit status.

    A child that is killed after SIGTERM is not replaced; the status is 0 then.
    """
    stopping, child = False, 0

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if child:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # stop() sees the new child
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os._exit(work())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = 0
        if stopping or status >= 0:
            return max(status, 0)


def _step_the_clock(file: Path) -> None:
    """Set the wall clock only, as an administrator does: the monotonic clock cannot be set."""
    read_db_clock, now = transaction._read_clock, datetime.now

    def offset() -> timedelta:
        return timedelta(hours=int(file.read_text() or 0) if file.exists() else 0)

    class SteppedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now(tz) + offset()

    clock.datetime = SteppedDatetime  # type: ignore[misc]
    transaction._read_clock = lambda transaction: read_db_clock(transaction) + offset()


if __name__ == "__main__":
    sys.exit(_work(json.loads(sys.argv[1])))
