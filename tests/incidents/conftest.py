"""Fixtures of the incidents: accounts with live settings, settled attempts, SMTP servers, and a web server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
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
from portal.outbox.queue import NewMessage, enqueue_row, hold
from portal.settings import credentials, login_probe
from portal.settings.models import LoginProbe, SmtpSettings, VersionState
from portal.settings.routing import live_version
from portal.smtp.network.guard import EgressPolicy, PrivateTarget
from portal.smtp.server import Limits, Security
from portal.state import get_state
from tests.conftest import make_config
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, serve_correctly

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
    """A frozen clock that the test shifts."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def brightleaf(app, owner) -> int:
    """The id of Ada's account, with live settings and a running worker."""
    account_id = account_id_of("brightleaf")
    add_settings(account_id)
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=utcnow() + timedelta(days=30)))
    db.session.commit()
    return account_id


def account_id_of(slug: str) -> int:
    return db.session.scalars(select(Account.id).where(Account.slug == slug)).one()


def add_settings(
    account_id: int,
    *,
    number: int = 1,
    host: str = "smtp.example.com",
    port: int = 587,
    state: VersionState = VersionState.LIVE,
) -> SmtpSettings:
    """Add a version of the account's settings, by default the live one."""
    version = SmtpSettings(
        account_id=account_id,
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


def enqueue(account_id: int, number: int) -> OutboxMessage:
    """Enqueue a message to affiliate ``number``."""
    new = NewMessage(
        kind="new-sign-up",
        key=f"{account_id}:{number}",
        recipient=f"affiliate{number}@visitors.example",
        subject="Welcome",
        text="Hello",
    )
    row = enqueue_row(account_id, new, now=utcnow())
    db.session.commit()
    return row


def process_attempt(
    account_id: int,
    outcome: Outcome = Outcome.HELD,
    diagnosis=None,
    *,
    message: int = 1,
    server: str = SERVER,
    version: int | None = 1,
    **more,
) -> None:
    """Process a settled attempt in a transaction of its own."""
    attempt = SettledAttempt(
        account_id=account_id,
        message_id=message,
        outcome=outcome,
        server=server,
        version_number=version,
        diagnosis=diagnosis,
        **more,
    )
    detection.process(attempt, now=utcnow())
    db.session.commit()


def incidents(account_id: int) -> list[Incident]:
    """Return the stored incidents of an account, oldest first."""
    db.session.rollback()
    query = select(Incident).where(Incident.account_id == account_id).order_by(Incident.id)
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def run_worker_jobs() -> None:
    """Run the monitor and send the due alerts, as the worker's sweep does."""
    row = db.session.get(MonitorRun, 1)
    if row is not None and row.ran_at > utcnow() - timedelta(seconds=30):
        row.ran_at -= timedelta(seconds=30)  # makes the monitor due without waiting
    db.session.commit()
    monitor.run()
    for _, incident_id in alerts.find_due_work(utcnow()):
        alerts.send(incident_id)
    db.session.rollback()


def alert_emails() -> list[OutboxMessage]:
    """Return the queued alert emails."""
    query = select(OutboxMessage).where(OutboxMessage.kind.startswith("incident-")).order_by(OutboxMessage.id)
    return list(db.session.scalars(query))


# Far longer than the scripted servers need on a slow machine.
LIMITS = Limits(deadline=240.0, connect=120.0, greeting=120.0, reply=120.0)


@pytest.fixture
def serve() -> Iterator[Callable[..., BadServer]]:
    """Return a function that starts a scripted server with TLS from the first byte; keywords are its replies."""
    with ExitStack() as stack:

        def start(**replies: bytes) -> BadServer:
            script = partial(serve_correctly, security=Security.IMPLICIT_TLS, answers=replies)
            return stack.enter_context(BadServer(script))

        yield start


@pytest.fixture
def point_settings_at(app, brightleaf):
    """Return a function that points the account's live settings, and the platform's, at scripted servers."""

    def point(own: BadServer, platform: BadServer | None = None) -> SmtpSettings:
        config = get_state(app).config
        networks = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
        ports = [own.port, *([platform.port] if platform else [])]
        allowed = tuple(PrivateTarget(network, port) for network in networks for port in ports)
        policy = EgressPolicy(private_targets=allowed, ca_file=badserver.ca_file())
        platform_config = config.platform
        if platform:
            platform_config = replace(
                platform_config,
                port=platform.port,
                use_tls=False,
                use_ssl=True,
                username=badserver.USERNAME,
                password=badserver.PASSWORD,
            )
        get_state(app).config = replace(config, policy=policy, limits=LIMITS, platform=platform_config)
        version = live_version(brightleaf)
        version.host, version.port, version.security = "localhost", own.port, "implicit"
        version.username = badserver.USERNAME
        credentials.seal(version, badserver.PASSWORD)
        db.session.commit()
        return version

    return point


def run_login_probe(version: SmtpSettings) -> LoginProbe:
    """Make the login probe of a version due, and run it."""
    version_id = version.id
    run_worker_jobs()
    probe = db.session.get_one(LoginProbe, version_id)
    probe.next_at = utcnow()
    db.session.commit()
    login_probe.run(version_id)
    db.session.rollback()
    return db.session.get_one(LoginProbe, version_id, populate_existing=True)


def text_of(browser, url: str) -> str:
    """Return the text of a page, with single spaces."""
    response = browser.get(url)
    assert response.status_code == 200
    return " ".join(response.get_data(as_text=True).split())


@pytest.fixture
def account_on_hold(brightleaf, clock) -> int:
    """The id of Ada's account, whose login is refused; 14 emails wait, enqueued an hour apart."""
    for number in range(14):
        enqueue(brightleaf, number)
        clock.shift(3600)
    hold(brightleaf, REFUSED, now=utcnow())
    first = db.session.scalars(select(OutboxMessage.id).order_by(OutboxMessage.id)).first()
    process_attempt(brightleaf, diagnosis=REFUSED, message=first, reply_code=535, reply_text="5.7.8 no")
    return brightleaf


@dataclass
class WebServer:
    """A webhook receiver on this machine. ``status`` is the status of its next response."""

    port: int = 0
    status: int = 204
    location: str = ""
    requests: list[tuple[Message, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/signet"


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    """A web server that stores the requests that were posted to it."""
    web_server = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            web_server.requests.append((self.headers, body))
            self.send_response(web_server.status)
            if web_server.location:
                self.send_header("Location", web_server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web_server.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield web_server
    server.shutdown()
    server.server_close()


@pytest.fixture
def config(tmp_path: Path, receiver: WebServer) -> Config:
    """A configuration that allows unencrypted webhooks to the receiver."""
    allowed = f"127.0.0.1/32:{receiver.port}:plaintext ::1/128:{receiver.port}:plaintext"
    return make_config(tmp_path / "instance", env={"SIGNET_HOOK_PRIVATE": allowed})
