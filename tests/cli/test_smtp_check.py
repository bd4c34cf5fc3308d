"""`flask smtp check` tests an account's settings up to RCPT TO and sends nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import delete, func, select, update

from portal.accounts.models import Membership, Owner, OwnerSession
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.smtp.server import Security
from tests.outbox.support import answering
from tests.pages import LintingClient
from tests.settings.conftest import Servers, save
from tests.settings.conftest import _not_at_the_end_of_an_hour as _not_at_the_end_of_an_hour
from tests.settings.conftest import config as config
from tests.settings.conftest import form as form
from tests.settings.conftest import live as live
from tests.settings.conftest import servers as servers
from tests.smtp import badserver
from tests.smtp.badserver import Peer, serve_correctly

pytestmark = pytest.mark.both_databases

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"resolve", "connect", "greeting", "ehlo", "tls", "auth", "mail", "rcpt"}


def check(app: Flask, *arguments: str) -> Result:
    db.session.rollback()
    return app.test_cli_runner().invoke(args=["smtp", "check", *arguments])


def parsed(result: Result) -> dict[str, Any]:
    (line,) = result.output.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


def counts() -> tuple[int | None, int | None]:
    db.session.rollback()
    return (
        db.session.scalar(select(func.count()).select_from(OutboxMessage)),
        db.session.scalar(select(func.count()).select_from(SettingsCheck)),
    )


def test_a_live_version_passes_every_stage_up_to_the_recipient(
    app: Flask, live: SmtpSettings, servers: Servers
) -> None:
    before, messages = counts(), len(servers.one.messages)
    result = check(app, "--account", "brightleaf", "--json")
    answer = parsed(result)
    assert result.exit_code == 0
    assert {stage["stage"] for stage in answer["rungs"]} == STAGES
    assert {stage["verdict"] for stage in answer["rungs"]} <= {"passed", "skipped"}
    assert answer["passed"] is True
    assert answer["diagnosis"] is None
    assert (answer["account"], answer["version"]) == ("brightleaf", 1)
    assert (answer["sender"], answer["recipient"]) == ("info@brightleaf.example", "ada@brightleaf.example")
    assert counts() == before, "nothing is enqueued or stored"
    assert len(servers.one.messages) == messages, "nothing is sent"


def test_without_json_each_stage_is_a_line(app: Flask, live: SmtpSettings) -> None:
    result = check(app, "--account", "brightleaf")
    assert result.exit_code == 0
    assert "Log in" in result.output
    assert "Nothing was sent." in result.output


def test_a_rejected_log_in_is_diagnosed_and_the_password_is_not_printed(
    app: Flask, owner: LintingClient, form: dict[str, str], servers: Servers
) -> None:
    save(owner, form, password="wrong-password-7")
    servers.one.script = answering(AUTH=b"535 5.7.8 Authentication failed\r\n")
    result = check(app, "--account", "brightleaf", "--version", "1", "--json")
    answer = parsed(result)
    assert result.exit_code == 1
    assert answer["passed"] is False
    assert answer["rungs"][-1]["verdict"] == "failed"
    assert answer["diagnosis"]["whose_move"] == "owner"
    assert "wrong-password-7" not in result.output
    plain = check(app, "--account", "brightleaf", "--version", "1")
    assert plain.exit_code == 1
    assert "Who needs to act: you" in plain.output


def test_an_unreachable_server_fails_the_check(app: Flask, live: SmtpSettings, servers: Servers) -> None:
    servers.one.__exit__(None, None, None)
    result = check(app, "--account", "brightleaf", "--json")
    assert result.exit_code == 1
    assert parsed(result)["rungs"][-1]["stage"] == "connect"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--account", "nobody"], "unknown-account"),
        (["--account", "brightleaf"], "no-settings"),
        (["--account", "brightleaf", "--version", "9"], "unknown-version"),
    ],
)
def test_a_check_that_cannot_start_has_a_stable_code(
    app: Flask, owner: LintingClient, arguments: list[str], code: str
) -> None:
    result = check(app, *arguments, "--json")
    assert result.exit_code == 2
    assert parsed(result)["error"]["code"] == code
    assert check(app, *arguments).exit_code == 2


def test_another_accounts_version_is_not_found(
    app: Flask, live: SmtpSettings, stranger: LintingClient
) -> None:
    result = check(app, "--account", "copperpot", "--version", "1", "--json")
    assert parsed(result)["error"]["code"] == "unknown-version"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"username": "eve@brightleaf.example"}, "password-not-openable"),
        ({"port": 0, "security": "detect"}, "port-unknown"),
    ],
)
def test_an_undecryptable_password_or_an_unknown_port_is_not_a_failed_check(
    app: Flask, live: SmtpSettings, change: dict[str, Any], code: str
) -> None:
    db.session.execute(update(SmtpSettings).values(**change))
    db.session.commit()
    result = check(app, "--account", "brightleaf", "--json")
    assert (result.exit_code, parsed(result)["error"]["code"]) == (2, code)


def test_an_account_without_owner_has_no_recipient(app: Flask, live: SmtpSettings) -> None:
    db.session.execute(delete(OwnerSession))
    db.session.execute(delete(Membership))
    db.session.execute(delete(Owner))
    db.session.commit()
    assert parsed(check(app, "--account", "brightleaf", "--json"))["error"]["code"] == "no-owner"


def test_without_a_configured_portal_the_status_is_that_of_a_check_that_cannot_start() -> None:
    unconfigured = {
        key: value for key, value in os.environ.items() if not key.startswith(("SIGNET_", "MAIL_", "SECRET_"))
    }
    flask = str(Path(sys.executable).parent / "flask")
    result = subprocess.run(
        [flask, "smtp", "check", "--account", "brightleaf"],
        cwd=ROOT,
        env=unconfigured | {"SIGNET_INSTANCE": "/nonexistent/instance"},
        capture_output=True,
        timeout=600,
    )
    assert result.returncode == 2
    assert b"Signet cannot start" in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_token_from_standard_input_is_tried_instead_of_the_password(
    app: Flask, live: SmtpSettings, servers: Servers
) -> None:
    def take_token(peer: Peer, _line: bytes) -> None:
        peer.send(b"334 \r\n")
        peer.receive()
        peer.send(b"235 2.7.0 Accepted\r\n")

    servers.one.script = lambda peer: serve_correctly(
        peer, {"AUTH": take_token}, offers=(b"AUTH PLAIN XOAUTH2",), security=Security.IMPLICIT_TLS
    )
    before = len(servers.one.received)
    db.session.rollback()
    arguments = ["smtp", "check", "--account", "brightleaf", "--token"]
    result = app.test_cli_runner().invoke(args=arguments, input="canary-token-123\n")
    assert result.exit_code == 0, result.output
    said = bytes(servers.one.received[before:])
    assert b"AUTH XOAUTH2\r\n" in said
    assert not badserver.holds_secret(said), "the saved password stays where it is"
    assert "canary" not in result.output
    assert "Consent" in result.output


@pytest.mark.parametrize("text", ["", "two words", "x" * 17_000, "tökén"])
def test_an_unusable_token_is_refused(app: Flask, live: SmtpSettings, text: str) -> None:
    db.session.rollback()
    arguments = ["smtp", "check", "--account", "brightleaf", "--token", "--json"]
    result = app.test_cli_runner().invoke(args=arguments, input=text)
    assert result.exit_code == 2
    assert parsed(result)["error"]["code"] == "token-unusable"
