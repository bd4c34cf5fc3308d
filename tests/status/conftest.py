"""Fixtures of the sending status: an account whose live settings, domain and test email are in order, and five places."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import Account
from portal.api import tokens
from portal.api.models import TokenScope
from portal.arrival.models import FromOutcome, TestEmail
from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.domains.models import DomainCheck, DomainCheckState, DomainStatus
from portal.jobs.models import WorkerHeartbeat
from portal.monitoring.health import ReadinessCache
from portal.settings.models import CheckState, SettingsCheck, SmtpSettings
from portal.state import get_state
from tests.conftest import make_config
from tests.incidents.conftest import add_settings
from tests.migrations import mark_as_newest
from tests.pages import LintingClient

METRICS_TOKEN = "a-token-of-the-operator-0123456789"
SENDER = "info@brightleaf.example"
_CODE = re.compile(r'data-code="([a-z-]+)"')


@pytest.fixture(autouse=True)
def _frozen():
    with time_machine.travel("2026-03-02 09:12:00+00:00", tick=False):
        yield


@pytest.fixture
def config(tmp_path: Path) -> Config:
    env = {"SIGNET_SMTP_PORTS": "9", "SIGNET_SMTP_PRIVATE": "127.0.0.0/8:9 ::1/128:9"}
    return replace(make_config(tmp_path / "instance", env=env), metrics_token=METRICS_TOKEN)


@pytest.fixture
def account(app: Flask, owner: LintingClient) -> int:
    """The id of Ada's account, with a running worker, in a database that counts as migrated."""
    mark_as_newest()
    db.session.add(WorkerHeartbeat(name="test:1", started_at=utcnow(), seen_at=utcnow()))
    db.session.commit()
    return db.session.scalars(select(Account.id).where(Account.slug == "brightleaf")).one()


@pytest.fixture
def in_order(account: int) -> SmtpSettings:
    """Version 1: live, proved, received as promised, and with a domain in order. Nothing listens at its server."""
    version = add_settings(account, host="127.0.0.1", port=9)
    now = utcnow()
    check = SettingsCheck(version_id=version.id, recipient="ada@brightleaf.example", recipient_name="Ada")
    check.state, check.created_at, check.ended_at, check.stages = CheckState.PASSED, now, now, []
    domain = DomainCheck(account_id=account, version_id=version.id, domain=version.domain, selectors=[])
    domain.state, domain.status = DomainCheckState.DONE, DomainStatus.ARRIVES
    domain.requested_at = domain.checked_at = now
    domain.findings = report("arrives")
    db.session.add_all([check, domain, received_email(account, FromOutcome.AS_PROMISED)])
    db.session.commit()
    return version


def report(verdict: str, **findings: str) -> dict[str, Any]:
    """Return a stored domain report with one finding for each subject, by its mark."""
    titles = {"spf": "SPF", "dkim": "DKIM", "dmarc": "DMARC"}
    wanted = [{"name": "k1._domainkey", "kind": "TXT", "value": "v=DKIM1", "how": ""}]
    rows = [
        {
            "subject": subject, "title": titles[subject], "mark": mark, "sentence": "s", "move": "", "now": [],
            "wanted": wanted if mark in ("care", "bad") else [], "notes": [], "silent": False, "says": "",
        }
        for subject, mark in findings.items()
    ]  # fmt: skip
    return {
        "domain": "brightleaf.example", "provider": "other", "server": "", "verdict": verdict, "why": ["Because."],
        "findings": rows, "alignment": [], "spf": None, "look_ups": 0, "look_ups_allowed": 10, "keys": [], "dmarc": [],
        "organization": "brightleaf.example", "asked": 0,
    }  # fmt: skip


def received_email(account_id: int, outcome: str, message_id: int = 1, version: int = 1) -> TestEmail:
    now = utcnow()
    row = TestEmail(account_id=account_id, message_id=message_id, token_hash=f"{message_id:064}")
    row.recipient, row.created_at, row.expires_at, row.sent_at = "ada@brightleaf.example", now, now, now
    row.version_number, row.sender, row.outcome = version, f"Brightleaf <{SENDER}>", outcome
    row.pasted_at = row.received_at = now
    return row


def the_row(table: Any) -> Any:
    return db.session.scalars(select(table)).one()


class Places:
    """The five places that state the sending status, asked over HTTP and in the shell."""

    def __init__(self, app: Flask, owner: LintingClient) -> None:
        self.app, self.owner = app, owner
        account_id = db.session.scalars(select(Account.id).where(Account.slug == "brightleaf")).one()
        self.token = tokens.create(
            account_id, name="status", by="Ada", form_key="k" * 43, now=utcnow(), scope=TokenScope.SENDING
        )

    def page(self, url: str) -> str:
        html = self.owner.get(url).get_data(as_text=True)
        (code,) = _CODE.findall(html)
        return str(code)

    def api(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = self.app.test_client().get("/api/v1/sending", headers=headers)
        assert answer.status_code == 200
        return dict(answer.get_json())

    def shell(self) -> dict[str, Any]:
        db.session.rollback()
        runner = self.app.test_cli_runner()
        result = runner.invoke(args=["smtp", "check", "--account", "brightleaf", "--json"])
        return dict(json.loads(result.output)["sending"])

    def readiness(self) -> dict[str, Any]:
        get_state(self.app).discard(ReadinessCache)
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        answer = self.app.test_client().get("/readyz?account=brightleaf", headers=headers)
        return dict(answer.get_json()["sending"])

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the whole status where a place states it."""
        return {"api": self.api(), "shell": self.shell(), "readiness": self.readiness()}

    def codes(self, statuses: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return the code that each place states, of which some were asked for their whole status."""
        return {
            "home": self.page("/"),
            "settings": self.page("/settings/email-preferences"),
            "domain": self.page("/settings/sending-domain"),
            "incidents": self.page("/incidents"),
            **{place: status["code"] for place, status in statuses.items()},
        }


@pytest.fixture
def places(app: Flask, owner: LintingClient, account: int) -> Places:
    return Places(app, owner)
