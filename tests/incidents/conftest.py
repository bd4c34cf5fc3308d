"""Fixtures of the incidents: accounts with live settings, trouble as the post room tells it, and a web server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.incidents import alerts, detection, monitor
from portal.incidents.detection import SettledAttempt
from portal.incidents.models import Incident, MonitorRun
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.models import OutboxMessage, Outcome
from portal.outbox.queue import NewMessage, enqueue_row
from portal.settings import credentials
from portal.settings.models import SmtpSettings, VersionState
from tests.conftest import make_config

START = "2026-03-02 09:12:00+00:00"
SERVER = "smtp.example.com:587"
REFUSED = {
    "code": "login-refused",
    "kind": "credentials",
    "whose_move": "owner",
    "field": "password",
    "cause": "smtp.example.com did not accept the username and password.",
    "fixes": ["Copy the SMTP password again from your provider."],
    "retry_class": "settings",
    "evidence": {"reply": "535 5.7.8 no"},
}
DOWN = {
    "code": "connect-refused",
    "kind": "network",
    "whose_move": "provider",
    "field": None,
    "cause": "Nothing at smtp.example.com accepts connections on port 587.",
    "fixes": ["Wait: it is tried again by itself."],
    "retry_class": "server",
    "evidence": {},
}
NO_SUCH_USER = {
    "code": "no-such-mailbox",
    "kind": "recipient",
    "whose_move": "owner",
    "field": "recipient",
    "cause": "There is no such mailbox.",
    "fixes": ["Ask the affiliate for another address."],
    "retry_class": "recipient",
    "evidence": {},
}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still until a test moves it."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def brightleaf(app, owner) -> int:
    """The id of Ada's account, with live settings and a worker at work."""
    ident = account_id("brightleaf")
    live_settings(ident)
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=utcnow() + timedelta(days=30)))
    db.session.commit()
    return ident


def account_id(slug: str) -> int:
    return db.session.scalars(select(Account.id).where(Account.slug == slug)).one()


def live_settings(
    ident: int,
    *,
    number: int = 1,
    host: str = "smtp.example.com",
    port: int = 587,
    state: VersionState = VersionState.LIVE,
) -> SmtpSettings:
    version = SmtpSettings(
        account_id=ident,
        number=number,
        host=host,
        port=port,
        security="starttls",
        mechanism="automatic",
        username="info@brightleaf.example",
        sealed_password=b"",
        password_saved_at=utcnow(),
        domain="brightleaf.example",
        wrapped_user="info",
        credential_warnings=[],
        state=state,
        created_at=utcnow(),
        live_since=utcnow() if state is VersionState.LIVE else None,
    )
    credentials.seal(version, "the password")
    db.session.add(version)
    db.session.commit()
    return version


def owe(ident: int, number: int) -> OutboxMessage:
    new = NewMessage(
        kind="new-sign-up",
        key=f"{ident}:{number}",
        recipient=f"affiliate{number}@visitors.example",
        subject="Welcome",
        text="Hello",
    )
    row = enqueue_row(ident, new, now=utcnow())
    db.session.commit()
    return row


def happens(
    ident: int,
    outcome: Outcome = Outcome.HELD,
    diagnosis=None,
    *,
    message: int = 1,
    server: str = SERVER,
    version: int | None = 1,
    **more,
) -> None:
    """Tell the room of a settled attempt, in a transaction of its own."""
    one = SettledAttempt(
        account_id=ident,
        message_id=message,
        outcome=outcome,
        server=server,
        version_number=version,
        diagnosis=diagnosis,
        **more,
    )
    detection.process(one, now=utcnow())
    db.session.commit()


def incidents(ident: int) -> list[Incident]:
    db.session.rollback()
    query = select(Incident).where(Incident.account_id == ident).order_by(Incident.id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def work() -> None:
    """Do what the worker's sweep would find: the watch, and the alerts that are due."""
    row = db.session.get(MonitorRun, 1)
    if row is not None and row.ran_at > utcnow() - timedelta(seconds=30):
        row.ran_at -= timedelta(seconds=30)  # the watch looks every few seconds; a test waits for nothing
    db.session.commit()
    monitor.run()
    for _, ident in alerts.find_due_work(utcnow()):
        alerts.send(ident)
    db.session.rollback()


def mails() -> list[OutboxMessage]:
    """The portal's own mail, as it is owed."""
    query = select(OutboxMessage).where(OutboxMessage.kind.startswith("incident-")).order_by(OutboxMessage.id)
    return list(db.session.scalars(query))


@dataclass
class WebServer:
    """A receiver of webhooks on this machine. ``status`` is its next answer."""

    port: int = 0
    status: int = 204
    location: str = ""
    seen: list[tuple[Message, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/signet"


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    """A web server that remembers what was posted to it."""
    found = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append((self.headers, body))
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(tmp_path: Path, receiver: WebServer) -> Config:
    """Webhooks may go to the receiver, unencrypted, because the operator says so."""
    allowed = f"127.0.0.1/32:{receiver.port}:plaintext ::1/128:{receiver.port}:plaintext"
    return make_config(tmp_path / "instance", env={"SIGNET_HOOK_PRIVATE": allowed})
