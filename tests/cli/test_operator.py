"""The operator's commands: outbox status, operator rights, password reset links and new keys."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import create_engine, delete, select, update

from portal import demo
from portal.about import VERSION
from portal.accounts.models import Membership, Owner, PasswordReset
from portal.cli.no_traceback import report_database_errors
from portal.clock import utcnow
from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox import queue
from portal.outbox.models import Outcome, Status
from portal.state import get_state
from tests.conftest import PASSWORD, logged_in
from tests.operations.conftest import id_of
from tests.outbox.support import enqueue_message, message, start_drain
from tests.pages import LintingClient

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]
REFUSED = {"code": "auth-refused", "whose_move": "owner", "cause": "The server refused the password."}
NO_SENDER = {"code": "no-platform-sender", "whose_move": "operator", "cause": "This portal has no sender."}


def test_the_status_as_json_contains_everything(flask: Run, owner: LintingClient, a_worker: None) -> None:
    account_id = id_of("brightleaf")
    first = enqueue_message(account_id, "one")
    start_drain(account_id)
    enqueue_message(account_id, "two")
    enqueue_message(None, "reset:1")
    queue.hold(account_id, REFUSED, now=utcnow())
    db.session.commit()
    result = flask("outbox", "status", "--json")
    report = json.loads(result.output)
    assert result.exit_code == 0, "an owner's wrong password is not for the operator to fix"
    assert (report["depth"], report["attention"]) == (3, [])
    assert report["oldest_waiting"] == message(first).created_at.isoformat()
    assert report["oldest_waiting_seconds"] >= 0
    assert {name: count for name, count in report["states"].items() if count} == {
        "queued": 1,
        "sending": 1,
        "held": 1,
    }
    assert [(one["account"], one["depth"]) for one in report["accounts"]] == [
        ("brightleaf", 2),
        ("@portal", 1),
    ]
    (stopped,) = report["stopped"]
    assert (stopped["account"], stopped["state"], stopped["waiting"]) == ("brightleaf", "held", 2)
    assert (stopped["code"], stopped["cause"]) == ("auth-refused", "The server refused the password.")
    (worker,) = report["workers"]
    assert (worker["host"], worker["pid"]) == (socket.gethostname(), os.getpid())
    assert (worker["version"], worker["threads"], worker["missing"]) == (VERSION, 3, False)
    (lease,) = report["leases"]
    assert (lease["message"], lease["lapsed"]) == (first, False)
    assert report["draining"] == ["brightleaf"]
    assert report["attempts_last_hour"] == {one.value: int(one is Outcome.STARTED) for one in Outcome}
    assert set(report["states"]) == {one.value for one in Status}


def test_the_status_as_text_contains_the_same(flask: Run, owner: LintingClient, a_worker: None) -> None:
    account_id = id_of("brightleaf")
    enqueue_message(account_id, "one")
    queue.hold(account_id, NO_SENDER, now=utcnow())
    db.session.commit()
    result = flask("outbox", "status")
    assert result.exit_code == 1, "it is the operator's move"
    assert "! The emails of brightleaf are on hold: This portal has no sender." in result.output
    assert "1 message queued, the oldest since" in result.output
    assert "brightleaf: 1 held" in result.output
    assert f"{socket.gethostname()} pid {os.getpid()}: version {VERSION}, 3 threads" in result.output


def test_a_portal_without_worker_needs_attention(flask: Run, a_worker: None) -> None:
    assert flask("outbox", "status").exit_code == 0
    db.session.execute(update(WorkerHeartbeat).values(seen_at=utcnow() - timedelta(minutes=2)))
    db.session.commit()
    result = flask("outbox", "status")
    assert result.exit_code == 1
    assert "No worker is running" in result.output
    assert "MISSING" in result.output


def test_an_owner_is_promoted_and_demoted(flask: Run, owner: LintingClient) -> None:
    for command, expected in (("promote", True), ("demote", False)):
        result = flask("owners", command, "Ada@Brightleaf.example")
        assert result.exit_code == 0
        assert "ada@brightleaf.example" in result.output
        db.session.rollback()
        assert db.session.scalars(select(Owner.is_operator)).all() == [expected]
    assert flask("owners", "promote", "nobody@example.org").exit_code == 1


def test_an_operator_without_a_programme_gets_one_and_logs_in_again(
    app: Flask, flask: Run, owner: LintingClient
) -> None:
    assert flask("owners", "promote", "ada@brightleaf.example").exit_code == 0
    db.session.execute(delete(Membership))
    db.session.commit()
    browser = app.test_client()
    assert isinstance(browser, LintingClient)
    entered = {"mailbox": "ada@brightleaf.example", "password": PASSWORD}
    assert browser.submit("/log-in", entered).status_code == 422
    assert flask("owners", "give-programme", "nobody@example.org", "Dovetail").exit_code == 1
    assert flask("owners", "give-programme", "ada@brightleaf.example", " ").exit_code == 1
    result = flask("owners", "give-programme", "Ada@Brightleaf.example", "Dovetail")
    assert result.exit_code == 0, result.output
    assert "ada@brightleaf.example owns Dovetail; its sign-up page is /join/dovetail" in result.output
    assert browser.submit("/log-in", entered).status_code == 303
    assert browser.get("/operator/outbox").status_code == 200


NEW_OWNER = ["create-owner", "--programme", "Dovetail", "--name", "Cy", "--mailbox", "cy@dovetail.example"]


@pytest.mark.parametrize("operator", [True, False])
def test_an_owner_is_created_with_a_password_that_the_command_asks_for(
    app: Flask, operator: bool, flask: Run
) -> None:
    result = flask(*NEW_OWNER, *(["--operator"] if operator else []), typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    assert db.session.scalars(select(Owner.is_operator)).all() == [operator]
    browser = app.test_client()
    assert isinstance(browser, LintingClient)
    entered = {"mailbox": "cy@dovetail.example", "password": PASSWORD}
    assert browser.submit("/log-in", entered).status_code == 303


def test_an_owner_is_created_with_a_link_under_which_a_password_is_chosen(app: Flask, flask: Run) -> None:
    result = flask(*NEW_OWNER, "--operator", "--link")
    assert result.exit_code == 0, result.output
    (link,) = re.findall(r"http://127\.0\.0\.1/reset-password/\S+", result.output)
    browser = app.test_client()
    assert isinstance(browser, LintingClient)
    assert browser.submit(urlsplit(link).path, {"password": PASSWORD}).status_code == 303
    entered = {"mailbox": "cy@dovetail.example", "password": PASSWORD}
    assert browser.submit("/log-in", entered).status_code == 303
    assert browser.get("/operator/outbox").status_code == 200


def test_a_password_on_the_command_line_is_refused_before_anything_is_asked(app: Flask, flask: Run) -> None:
    result = flask("create-owner", "--password", "canary canary canary")
    assert result.exit_code == 2
    assert "--link" in result.output
    assert "canary" not in result.output
    assert "Programme name" not in result.output
    assert not db.session.scalars(select(Owner)).all()


def test_a_rejected_password_is_an_error_message_without_a_traceback(app: Flask, flask: Run) -> None:
    result = flask(*NEW_OWNER, typed="short\nshort\n")
    assert result.exit_code == 1
    assert "Error: Use 12 characters or more." in result.output


def test_a_database_that_fails_ends_a_command_with_a_sentence(tmp_path: Path) -> None:
    @click.command()
    def count() -> None:
        create_engine(f"sqlite:///{tmp_path / 'missing' / 'portal.sqlite'}").connect()

    group = click.Group(commands=[count])
    report_database_errors(group)
    result = CliRunner().invoke(group, ["count"])
    assert result.exit_code == 1
    assert "Error: The database failed (OperationalError)" in result.output


def test_registration_creates_no_operator(app: Flask) -> None:
    logged_in(app, "Dovetail", "Cy", "cy@dovetail.example")
    assert db.session.scalars(select(Owner.is_operator)).all() == [False]


def test_the_demo_account_belongs_to_a_rehearsal(app: Flask, flask: Run) -> None:
    state = get_state(app)
    state.config = replace(state.config, rehearsal=False)
    result = flask("seed-demo")
    assert result.exit_code == 1
    assert "only a rehearsal may have it" in result.output
    assert not db.session.scalars(select(Owner)).all()


def test_the_demo_owner_is_an_operator(app: Flask) -> None:
    demo.seed()
    assert db.session.scalars(select(Owner.is_operator)).all() == [True]


def test_a_printed_link_sets_a_new_password_once(app: Flask, flask: Run, owner: LintingClient) -> None:
    result = flask("reset-link", "ADA@brightleaf.example")
    assert result.exit_code == 0
    (line,) = result.output.splitlines()
    assert line.startswith("http://127.0.0.1/reset-password/")
    path, browser = urlsplit(line).path, app.test_client()
    assert isinstance(browser, LintingClient)
    chosen = {"password": "four unrelated words here"}
    assert browser.submit(path, chosen).status_code == 303
    assert browser.get(path).status_code == 404, "it works once"
    mailbox = {"mailbox": "ada@brightleaf.example"}
    assert browser.submit("/log-in", mailbox | chosen).status_code == 303


def test_a_printed_link_expires_after_an_hour(app: Flask, flask: Run, owner: LintingClient) -> None:
    path = urlsplit(flask("reset-link", "ada@brightleaf.example").output.strip()).path
    db.session.execute(update(PasswordReset).values(created_at=utcnow() - timedelta(hours=1)))
    db.session.commit()
    assert app.test_client().get(path).status_code == 404


def test_there_is_no_link_for_an_unknown_mailbox(flask: Run) -> None:
    result = flask("reset-link", "nobody@example.org")
    assert result.exit_code == 1
    assert "No owner has this email address." in result.output


def test_a_new_key_needs_no_configured_portal(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "SIGNET_INSTANCE": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "new"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(":") == 1
    assert not (tmp_path / "none").exists()
