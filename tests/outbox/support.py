"""What the tests of the post room share: routes to scripted servers, messages that are owed, a real worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from flask import Flask

from portal import clock, create_app
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.config import Config
from portal.db import db, transaction
from portal.jobs import prefork, worker
from portal.jobs.backend import QUEUES
from portal.outbox.models import ConnectionLease, DeliveryAttempt, OutboxMessage, Queue, Status
from portal.outbox.queue import NewMessage, enqueue_row
from portal.outbox.routing import Route, Routing
from portal.outbox.sending.drain import Drain
from portal.smtp.network.guard import EgressPolicy, PrivateTarget
from portal.smtp.server import Limits, Secret, Security, Server
from portal.state import get_state
from tests.conftest import PASSWORD as OWNERS_PASSWORD
from tests.conftest import make_config
from tests.outbox import kill_points
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, Script, converse

SENDER = "info@brightleaf.example"
LIMITS = Limits(deadline=4.0, connect=1.0, greeting=1.0, reply=4.0)
TLS = Security.IMPLICIT_TLS
ROOT = Path(__file__).parents[2]


def honest(**more: object) -> Script:
    """A server that speaks TLS from the first byte and takes everything, save for ``answers``."""
    return lambda peer: converse(peer, security=TLS, **more)  # type: ignore[arg-type]


def answering(**answers: object) -> Script:
    """An honest server but for its answers by verb: ``answering(RCPT=b"550 5.1.1 no\\r\\n")``."""
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
    """The room that knows each account's way out, as the post room sees it."""

    by_account: dict[int | None, Callable[[], Route]] = field(default_factory=dict)

    def __call__(self, account_id: int | None, version_id: int | None = None) -> Route:
        return self.by_account[account_id]()

    def send_to(self, account_id: int | None, server: BadServer, **more: object) -> None:
        self.by_account[account_id] = lambda: route_to(server.port, **more)


def new_account(programme: str = "Brightleaf") -> int:
    mailbox = f"owner@{programme.lower()}.example"
    ident = create_owner(programme, "Ada Fairweather", mailbox, OWNERS_PASSWORD, now=utcnow()).account_id
    db.session.commit()
    return ident


def enqueue_message(account_id: int | None, key: str, **more: object) -> int:
    """Owe one message and commit; its id."""
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
    ident = row.id
    db.session.commit()
    return ident


def start_drain(account_id: int | None) -> Drain:
    """A drain that has claimed its batch and recorded its first intent, and there stands still."""
    drain = Drain(account_id or 0)
    drain._adopt(drain._open())
    assert drain._now.claim is not None
    return drain


def count_leases(account_id: int | None) -> int:
    query = db.select(db.func.count()).where(ConnectionLease.account_id == (account_id or 0))
    return int(_read(query)[0])


def expire_leases(account_id: int | None) -> None:
    """Let every lease of an account expire, as if its worker had died long ago."""
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


def message(ident: int) -> OutboxMessage:
    (row,) = _read(db.select(OutboxMessage).where(OutboxMessage.id == ident))
    return row


def attempts(ident: int) -> list[DeliveryAttempt]:
    query = db.select(DeliveryAttempt).where(DeliveryAttempt.message_id == ident)
    return _read(query.order_by(DeliveryAttempt.number))


def queue(account_id: int | None) -> Queue:
    (row,) = _read(db.select(Queue).where(Queue.account_id == (account_id or 0)))
    return row


def _read(query: Any) -> list[Any]:
    """Read rows as they are now, and let the transaction go: nobody shall wait for a test that looks."""
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


def wait_for(what: Callable[[], object], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise AssertionError("what was waited for did not come")


# -- a worker of its own process


@dataclass
class Worker:
    """The real worker in a process of its own; only its routes lead to the tests' servers."""

    process: subprocess.Popen[str]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within: float) -> int:
        return self.process.wait(within)


def start_worker(
    config: Config,
    ports: Mapping[int, int],
    *,
    threads: int = 1,
    sweep: float = 0.2,
    processes: int = 1,
    queues: Sequence[str] = QUEUES,
    mortal: bool = False,
    dies_at: str = "",
    dies_with: int = 0,
    clock_steps: bool = False,
) -> Worker:
    """Start it. One that is ``mortal`` is a child of the process, and replaced by another whenever it died;
    ``dies_at`` is one of ``kill_points.KILL_POINTS``, ``dies_with`` the id of the only message. Where ``clock_steps``, its clock
    and the database's, as it sees it, are as many hours off as the file ``clock`` in the instance says.
    """
    spec = {
        "instance": str(config.instance),
        "ports": {str(account): port for account, port in ports.items()},
        "ca": badserver.ca_file(),
        "lease": config.lease,
        "limits": asdict(config.limits),
        "threads": threads,
        "sweep": sweep,
        "processes": processes,
        "queues": list(queues),
        "redis": config.redis_url,
        "mortal": mortal or bool(dies_at),
        "dies_at": dies_at,
        "dies_with": dies_with,
        "clock_steps": clock_steps,
    }
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.outbox.support", json.dumps(spec)], env=environ, cwd=ROOT, text=True
    )
    return Worker(process)


def _work(spec: dict[str, object]) -> int:
    limits = Limits(**spec["limits"])  # type: ignore[arg-type]
    config = make_config(Path(str(spec["instance"])), lease=spec["lease"], limits=limits, sweep=spec["sweep"])
    config = replace(config, worker_threads=spec["threads"], redis_url=spec["redis"])  # type: ignore[arg-type]
    app: Flask = create_app(config)
    routes = StubRoutes()
    for account, port in spec["ports"].items():  # type: ignore[attr-defined]
        routes.by_account[int(account)] = lambda port=port: route_to(port, ca=str(spec["ca"]), limits=limits)
    get_state(app).part(Routing).find = routes
    if spec["dies_at"]:
        kill_points.install(str(spec["dies_at"]), config.instance, int(str(spec["dies_with"])))
    if spec["mortal"]:
        return prefork.run(1, lambda parent: worker._work(app, None, QUEUES, parent))
    if spec["clock_steps"]:
        _let_the_clock_step(config.instance / "clock")
    return worker.run(app, None, spec["processes"], spec["queues"])  # type: ignore[arg-type]


def _let_the_clock_step(file: Path) -> None:
    """Set the wall's clock alone, as an administrator does: what has passed is never set back."""
    asked, now = transaction._read_clock, datetime.now

    def off() -> timedelta:
        return timedelta(hours=int(file.read_text() or 0) if file.exists() else 0)

    class Stepping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now(tz) + off()

    clock.datetime = Stepping  # type: ignore[misc]
    transaction._read_clock = lambda transaction: asked(transaction) + off()


if __name__ == "__main__":
    sys.exit(_work(json.loads(sys.argv[1])))
