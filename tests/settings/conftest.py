"""Fixtures of the settings: a completed form, the rehearsal server, and scripted servers that record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Owner
from portal.config import Config
from portal.db import db
from portal.outbox.sending.drain import drain_queue
from portal.rehearsal import server as rehearsal_server
from portal.rehearsal.listeners import ListenerKind
from portal.settings import check
from portal.settings.checking import due_checks
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.smtp.server import Limits
from portal.tuning import Tuning
from tests.conftest import make_config
from tests.outbox.support import honest
from tests.pages import LintingClient
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

PAGE = "/settings/email-preferences"
# Long enough for a slow machine; a test that must wait for a timeout uses shorter limits of its own.
LIMITS = Limits(deadline=300.0, connect=120.0, greeting=120.0, reply=120.0)


@pytest.fixture(autouse=True)
def _not_at_the_end_of_an_hour():
    """Travel to a time from which no test reaches the next window of a rate limit, which begins at a round hour."""
    with time_machine.travel("2026-03-02 09:01:00+00:00"):
        yield


@dataclass
class Servers:
    """Scripted servers whose ports the configuration allows. Each records every byte that it receives."""

    one: BadServer
    two: BadServer


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        start: Any = lambda: stack.enter_context(BadServer(honest()))  # noqa: E731
        yield Servers(start(), start())


@pytest.fixture
def config(tmp_path: Path, servers: Servers, tuning: Tuning) -> Config:
    """Loopback is allowed for the two scripted servers; the second one is the platform's sender."""
    ports = [servers.one.port, servers.two.port]
    env = {
        "SIGNET_SMTP_PORTS": " ".join(map(str, ports)),
        "SIGNET_SMTP_PRIVATE": " ".join(f"127.0.0.0/8:{port} ::1/128:{port}" for port in ports),
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
        "MAIL_PORT": str(servers.two.port),
        "MAIL_USE_TLS": "0",
        "MAIL_USE_SSL": "1",
    }
    return make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS, tuning=tuning)


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[rehearsal_server.RunningServer]:
    handle = rehearsal_server.start(make_config(tmp_path / "instance"), dict.fromkeys(ListenerKind, 0))
    yield handle
    handle.stop()


def rehearsal_config(tmp_path: Path, handle: rehearsal_server.RunningServer) -> Config:
    names = {
        ListenerKind.STARTTLS: "SIGNET_REHEARSAL_STARTTLS_PORT",
        ListenerKind.TLS: "SIGNET_REHEARSAL_TLS_PORT",
        ListenerKind.PLAIN: "SIGNET_REHEARSAL_PLAIN_PORT",
        ListenerKind.EXPIRED: "SIGNET_REHEARSAL_EXPIRED_PORT",
        ListenerKind.IMAP: "SIGNET_REHEARSAL_IMAP_PORT",
        ListenerKind.CONSENT: "SIGNET_REHEARSAL_CONSENT_PORT",
    }
    env = {names[kind]: str(port) for kind, port in handle.ports.items()}
    env["MAIL_PORT"] = env["SIGNET_REHEARSAL_STARTTLS_PORT"]
    return make_config(tmp_path / "instance", env=env, lease=600.0, limits=LIMITS)


@pytest.fixture
def form(servers: Servers) -> dict[str, str]:
    """The Custom SMTP Settings form, completed for the first server."""
    return {
        "provider": "other",
        "host": "localhost",
        "username": "ada@brightleaf.example",
        "password": badserver.PASSWORD,
        "domain": "brightleaf.example",
        "security": "implicit",
        "port": str(servers.one.port),
        "mechanism": "automatic",
        "wrapped_user": "",
        "from_name": "",
        "reply_to": "",
    }


def save(browser: LintingClient, form: dict[str, str], **changes: str) -> Any:
    return browser.submit(PAGE, {**form, **changes})


def versions() -> list[SmtpSettings]:
    """Return all saved versions in their present state, detached from the session."""
    db.session.rollback()
    rows = list(db.session.scalars(select(SmtpSettings).order_by(SmtpSettings.id)))
    db.session.expunge_all()
    db.session.rollback()
    return rows


def checks() -> list[SettingsCheck]:
    db.session.rollback()
    rows = list(db.session.scalars(select(SettingsCheck).order_by(SettingsCheck.id)))
    db.session.expunge_all()
    db.session.rollback()
    return rows


def work() -> None:
    """Run the pending checks, then drain the due queues, as a worker does."""
    from portal.clock import utcnow
    from portal.outbox.store.due import due_queues

    for _, version_id in due_checks.find_due_work(utcnow()):
        check.run(version_id)
    for account in due_queues(utcnow()):
        drain_queue(account)
    db.session.rollback()


@pytest.fixture
def live(app: Flask, owner: LintingClient, form: dict[str, str]) -> SmtpSettings:
    """Version 1, saved and activated by a passed check."""
    assert save(owner, form).status_code == 303
    work()
    (version,) = versions()
    assert version.state == "live"
    return version


def account_id() -> int:
    found = db.session.scalar(select(Owner.account_id).where(Owner.mailbox == "ada@brightleaf.example"))
    db.session.rollback()
    assert found is not None
    return found


def text_of(response: Any) -> str:
    return response.get_data(as_text=True)
