"""What the operator types: the state of the outbox, who is an operator, and a link for a lost password."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select, update

from portal import demo
from portal.about import VERSION
from portal.accounts.models import Owner, PasswordReset
from portal.clock import utcnow
from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox import queue
from portal.outbox.models import Outcome, Status
from tests.conftest import PASSWORD, logged_in
from tests.operations.conftest import id_of
from tests.outbox.support import enqueue_message, message, start_drain
from tests.pages import LintingClient

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]
REFUSED = {"code": "auth-refused", "whose_move": "owner", "cause": "The server refused the password."}
NO_SENDER = {"code": "no-platform-sender", "whose_move": "operator", "cause": "This portal has no sender."}


def test_the_status_tells_everything_as_one_object(flask: Run, owner: LintingClient, a_worker: None) -> None:
    ident = id_of("brightleaf")
    first = enqueue_message(ident, "one")
    start_drain(ident)
    enqueue_message(ident, "two")
    enqueue_message(None, "reset:1")
    queue.hold(ident, REFUSED, now=utcnow())
    db.session.commit()
    result = flask("outbox", "status", "--json")
    told = json.loads(result.output)
    assert result.exit_code == 0, "an owner's wrong password is not for the operator to mend"
    assert (told["depth"], told["attention"]) == (3, [])
    assert told["oldest_waiting"] == message(first).created_at.isoformat()
    assert told["oldest_waiting_seconds"] >= 0
    assert {name: count for name, count in told["states"].items() if count} == {
        "queued": 1,
        "sending": 1,
        "held": 1,
    }
    assert [(one["account"], one["depth"]) for one in told["accounts"]] == [("brightleaf", 2), ("@portal", 1)]
    (stopped,) = told["stopped"]
    assert (stopped["account"], stopped["state"], stopped["waiting"]) == ("brightleaf", "held", 2)
    assert (stopped["code"], stopped["cause"]) == ("auth-refused", "The server refused the password.")
    (worker,) = told["workers"]
    assert (worker["host"], worker["pid"]) == (socket.gethostname(), os.getpid())
    assert (worker["version"], worker["threads"], worker["missing"]) == (VERSION, 3, False)
    (lease,) = told["leases"]
    assert (lease["message"], lease["lapsed"]) == (first, False)
    assert told["draining"] == ["brightleaf"]
    assert told["attempts_last_hour"] == {one.value: int(one is Outcome.STARTED) for one in Outcome}
    assert set(told["states"]) == {one.value for one in Status}


def test_the_status_in_words_says_the_same(flask: Run, owner: LintingClient, a_worker: None) -> None:
    ident = id_of("brightleaf")
    enqueue_message(ident, "one")
    queue.hold(ident, NO_SENDER, now=utcnow())
    db.session.commit()
    result = flask("outbox", "status")
    assert result.exit_code == 1, "it is the operator's move"
    assert "! The emails of brightleaf are on hold: This portal has no sender." in result.output
    assert "1 message owed, the oldest since" in result.output
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


@pytest.mark.parametrize("operator", [True, False])
def test_an_owner_is_created_as_operator_if_so_wished(app: Flask, flask: Run, operator: bool) -> None:
    words = ["--programme", "Dovetail", "--name", "Cy", "--mailbox", "cy@dovetail.example"]
    words += ["--password", PASSWORD, *(["--operator"] if operator else [])]
    assert flask("create-owner", *words).exit_code == 0
    assert db.session.scalars(select(Owner.is_operator)).all() == [operator]


def test_a_refused_password_is_an_error_message_and_no_traceback(app: Flask, flask: Run) -> None:
    words = [
        "--programme",
        "Dovetail",
        "--name",
        "Cy",
        "--mailbox",
        "cy@dovetail.example",
        "--password",
        "short",
    ]
    result = flask("create-owner", *words)
    assert result.exit_code == 1
    assert result.output.startswith("Error: Use 12 characters or more.")


def test_nobody_becomes_an_operator_by_registering(app: Flask) -> None:
    logged_in(app, "Dovetail", "Cy", "cy@dovetail.example")
    assert db.session.scalars(select(Owner.is_operator)).all() == [False]


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


def test_a_printed_link_is_over_after_an_hour(app: Flask, flask: Run, owner: LintingClient) -> None:
    path = urlsplit(flask("reset-link", "ada@brightleaf.example").output.strip()).path
    db.session.execute(update(PasswordReset).values(created_at=utcnow() - timedelta(hours=1)))
    db.session.commit()
    assert app.test_client().get(path).status_code == 404


def test_there_is_no_link_for_a_mailbox_nobody_has(flask: Run) -> None:
    result = flask("reset-link", "nobody@example.org")
    assert result.exit_code == 1
    assert "No owner has this email address." in result.output


def test_a_new_key_is_made_where_no_portal_is_set_up_yet(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "SIGNET_INSTANCE": str(tmp_path / "none")}
    made = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "keys", "new"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.count(":") == 1
    assert not (tmp_path / "none").exists()
