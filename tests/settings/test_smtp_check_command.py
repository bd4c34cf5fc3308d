"""`flask smtp check`: an account's settings are tried up to the recipient, and nothing is sent."""

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

from portal.accounts.models import Owner, OwnerSession
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.settings.models import SettingsCheck, SmtpSettings
from tests.outbox.support import answering
from tests.pages import LintingClient
from tests.settings.conftest import Servers, save

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"resolve", "connect", "greeting", "ehlo", "tls", "auth", "mail", "rcpt"}


def check(app: Flask, *arguments: str) -> Result:
    db.session.rollback()
    return app.test_cli_runner().invoke(args=["smtp", "check", *arguments])


def told(result: Result) -> dict[str, Any]:
    (line,) = result.output.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


def counts() -> tuple[int | None, int | None]:
    db.session.rollback()
    return (
        db.session.scalar(select(func.count()).select_from(OutboxMessage)),
        db.session.scalar(select(func.count()).select_from(SettingsCheck)),
    )


def test_a_live_version_passes_every_rung_up_to_the_recipient(
    app: Flask, live: SmtpSettings, servers: Servers
) -> None:
    before, messages = counts(), len(servers.one.messages)
    result = check(app, "--account", "brightleaf", "--json")
    answer = told(result)
    assert result.exit_code == 0
    assert {rung["stage"] for rung in answer["rungs"]} == STAGES
    assert {rung["verdict"] for rung in answer["rungs"]} <= {"passed", "skipped"}
    assert answer["passed"] is True
    assert answer["diagnosis"] is None
    assert (answer["account"], answer["version"]) == ("brightleaf", 1)
    assert (answer["sender"], answer["recipient"]) == ("info@brightleaf.example", "ada@brightleaf.example")
    assert counts() == before, "nothing is enqueued or stored"
    assert len(servers.one.messages) == messages, "nothing is sent"


def test_without_json_each_rung_is_a_line(app: Flask, live: SmtpSettings) -> None:
    result = check(app, "--account", "brightleaf")
    assert result.exit_code == 0
    assert "Log in" in result.output
    assert "Nothing was sent." in result.output


def test_a_refused_log_in_is_diagnosed_and_the_password_is_nowhere(
    app: Flask, owner: LintingClient, form: dict[str, str], servers: Servers
) -> None:
    save(owner, form, password="wrong-password-7")
    servers.one.script = answering(AUTH=b"535 5.7.8 Authentication failed\r\n")
    result = check(app, "--account", "brightleaf", "--version", "1", "--json")
    answer = told(result)
    assert result.exit_code == 1
    assert answer["passed"] is False
    assert answer["rungs"][-1]["verdict"] == "failed"
    assert answer["diagnosis"]["whose_move"] == "owner"
    assert "wrong-password-7" not in result.output
    plain = check(app, "--account", "brightleaf", "--version", "1")
    assert plain.exit_code == 1
    assert "Whose move: yours" in plain.output


def test_a_server_that_is_away_fails_the_trial(app: Flask, live: SmtpSettings, servers: Servers) -> None:
    servers.one.__exit__(None, None, None)
    result = check(app, "--account", "brightleaf", "--json")
    assert result.exit_code == 1
    assert told(result)["rungs"][-1]["stage"] == "connect"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--account", "nobody"], "unknown-account"),
        (["--account", "brightleaf"], "no-settings"),
        (["--account", "brightleaf", "--version", "9"], "unknown-version"),
    ],
)
def test_what_cannot_be_tried_is_told_apart(
    app: Flask, owner: LintingClient, arguments: list[str], code: str
) -> None:
    result = check(app, *arguments, "--json")
    assert result.exit_code == 2
    assert told(result)["error"]["code"] == code
    assert check(app, *arguments).exit_code == 2


def test_another_accounts_version_is_not_found(
    app: Flask, live: SmtpSettings, stranger: LintingClient
) -> None:
    result = check(app, "--account", "copperpot", "--version", "1", "--json")
    assert told(result)["error"]["code"] == "unknown-version"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"username": "eve@brightleaf.example"}, "password-not-openable"),
        ({"port": 0, "security": "detect"}, "port-unknown"),
    ],
)
def test_a_password_that_does_not_open_or_a_port_unknown_is_no_failure(
    app: Flask, live: SmtpSettings, change: dict[str, Any], code: str
) -> None:
    db.session.execute(update(SmtpSettings).values(**change))
    db.session.commit()
    result = check(app, "--account", "brightleaf", "--json")
    assert (result.exit_code, told(result)["error"]["code"]) == (2, code)


def test_an_account_without_owner_has_no_recipient(app: Flask, live: SmtpSettings) -> None:
    db.session.execute(delete(OwnerSession))
    db.session.execute(delete(Owner))
    db.session.commit()
    assert told(check(app, "--account", "brightleaf", "--json"))["error"]["code"] == "no-owner"


def test_where_no_portal_is_set_up_a_check_could_not_be_tried() -> None:
    bare = {
        key: value for key, value in os.environ.items() if not key.startswith(("SIGNET_", "MAIL_", "SECRET_"))
    }
    flask = str(Path(sys.executable).parent / "flask")
    result = subprocess.run(
        [flask, "smtp", "check", "--account", "brightleaf"],
        cwd=ROOT,
        env=bare | {"SIGNET_INSTANCE": "/nonexistent/instance"},
        capture_output=True,
        timeout=600,
    )
    assert result.returncode == 2
    assert b"Signet cannot start" in result.stderr
    assert b"Traceback" not in result.stderr
