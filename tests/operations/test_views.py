"""The operator's page: access, and what it shows."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.about import VERSION
from portal.accounts.profile import set_operator
from portal.clock import utcnow
from portal.db import db
from portal.jobs.models import WorkerHeartbeat
from portal.outbox import queue
from portal.outbox.models import OutboxMessage, Status
from portal.outbox.routing import Routing
from portal.outbox.sending.drain import drain_queue
from portal.state import get_state
from tests.operations.conftest import id_of
from tests.outbox.support import enqueue_message, start_drain
from tests.pages import LintingClient

PAGE, WORKERS = "/operator/outbox", "/operator/workers"
NO_SENDER = {"code": "no-platform-sender", "whose_move": "operator", "cause": "This portal has no sender."}


def shown(browser: LintingClient, path: str = PAGE) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return " ".join(response.get_data(as_text=True).split())


def test_an_operator_sees_the_page_and_its_entry_in_the_menu(operator: LintingClient) -> None:
    assert 'aria-current="page">Outbox</a>' in shown(operator)
    assert f'href="{PAGE}"' in operator.get("/deliveries").get_data(as_text=True)


def test_every_other_owner_gets_404(operator: LintingClient, stranger: LintingClient) -> None:
    assert stranger.get(PAGE).status_code == 404
    assert "Operator" not in stranger.get("/deliveries").get_data(as_text=True)


def test_an_owner_who_is_not_an_operator_gets_404(owner: LintingClient) -> None:
    assert owner.get(PAGE).status_code == 404
    assert PAGE not in owner.get("/deliveries").get_data(as_text=True)


def test_without_a_log_in_the_page_is_404(client: FlaskClient) -> None:
    assert client.get(PAGE).status_code == 404


def test_a_demoted_operator_loses_access_at_once(operator: LintingClient) -> None:
    assert operator.get(PAGE).status_code == 200
    set_operator("ada@brightleaf.example", operator=False)
    assert operator.get(PAGE).status_code == 404


def test_an_empty_outbox_is_shown(operator: LintingClient) -> None:
    page = shown(operator)
    assert "0 emails are queued" in page
    assert "No queue is on hold or paused." in page
    assert "No worker is running, so no emails are sent." in page


def test_the_page_shows_the_depth_the_worker_and_the_messages_being_sent(
    operator: LintingClient, stranger: LintingClient, a_worker: None
) -> None:
    account_id = id_of("copperpot")
    first = enqueue_message(account_id, "one")
    start_drain(account_id)
    enqueue_message(account_id, "two")
    page = shown(operator)
    assert "2 emails are queued" in page
    assert "Being sent 1" in page
    assert f'data-label="Email">{first}</th>' in page
    assert "Under way 1" in page
    assert "example.net" not in page, "recipients are not shown to the operator"
    assert "One worker is running" in page
    page = shown(operator, WORKERS)
    assert socket.gethostname() in page
    assert f">{os.getpid()}<" in page
    assert VERSION in page
    assert "Running" in page
    assert "One email is being sent" in page


def test_accounts_without_waiting_emails_are_not_listed(operator: LintingClient, a_worker: None) -> None:
    account_id = id_of("brightleaf")
    message_id = enqueue_message(account_id, "one")
    assert 'data-label="Queued">1</td>' in shown(operator)
    db.session.get_one(OutboxMessage, message_id).status = Status.SENT
    db.session.commit()
    page = shown(operator)
    assert 'data-label="Queued"' not in page
    assert "Only accounts with waiting emails are listed. The command flask outbox status" in page


def test_the_page_shows_that_more_accounts_wait_than_it_lists(
    operator: LintingClient, stranger: LintingClient, a_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.operations.views._MAX_ACCOUNTS", 1)
    enqueue_message(id_of("brightleaf"), "one")
    assert "accounts with the longest queues are listed" not in shown(operator)
    enqueue_message(id_of("copperpot"), "two")
    assert "Only the 1 accounts with the longest queues are listed." in shown(operator)


def test_a_held_queue_is_shown_with_its_cause(
    operator: LintingClient, stranger: LintingClient, a_worker: None
) -> None:
    account_id = id_of("copperpot")
    enqueue_message(account_id, "one")
    queue.hold(account_id, NO_SENDER, now=utcnow())
    db.session.commit()
    page = shown(operator)
    assert "The emails of copperpot are on hold: This portal has no sender." in page
    assert "no-platform-sender" in page


@pytest.mark.parametrize("seconds", [59, 61])
def test_a_worker_not_seen_for_a_minute_is_missing(
    app: Flask, operator: LintingClient, a_worker: None, seconds: int
) -> None:
    db.session.query(WorkerHeartbeat).update({"seen_at": utcnow() - timedelta(seconds=seconds)})
    db.session.commit()
    assert ("Missing" in shown(operator, WORKERS)) == (seconds > 60)


def test_an_internal_error_is_shown_with_its_traceback_and_without_the_password(
    operator: LintingClient, app: Flask
) -> None:
    def broken(account_id: int | None, version_id: int | None = None) -> None:
        raise RuntimeError("boom <here>")

    get_state(app).part(Routing).find = broken
    account_id = id_of("brightleaf")
    enqueue_message(account_id, "poison")
    drain_queue(account_id)
    page = shown(operator)
    assert "Errors of the portal" in page
    assert "RuntimeError: boom &lt;here&gt;" in page
    assert "In the last minute" in page
