"""``flask accounts``: list, approve, suspend, resume, invite."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from sqlalchemy import select

from portal.accounts.models import Account
from portal.accounts.standing import AccountState, state_of
from portal.db import db
from portal.outbox.sending.drain import drain_queue
from tests.outbox.support import enqueue_message
from tests.pages import LintingClient

Run = Callable[..., Result]


def brightleaf() -> Account:
    db.session.rollback()
    return db.session.scalars(select(Account).where(Account.slug == "brightleaf")).one()


def unapproved(*, waiting: bool = False) -> None:
    account = brightleaf()
    account.approved_at, account.is_waiting = None, waiting
    db.session.commit()


def test_the_list_has_state_sender_and_figures(
    flask: Run, owner: LintingClient, stranger: LintingClient
) -> None:
    result = flask("accounts", "list", "--json")
    assert result.exit_code == 0
    rows = {one["account"]: one for one in json.loads(result.output)}
    assert list(rows) == ["copperpot", "brightleaf"], "newest first"
    row = rows["brightleaf"]
    assert row["state"] == "active"
    assert row["approved"] is True
    assert (row["owner"], row["sender"]) == ("ada@brightleaf.example", "affiliates@signet.example")
    assert (row["platform_sender"], row["sent_24h"], row["failed_24h"]) == (True, 0, 0)
    assert row["sending"] in {"no-worker", "platform"}
    assert "brightleaf  active  approved" in flask("accounts", "list").output


def test_the_list_counts_what_was_sent(flask: Run, account: int, routes: object, serve: Callable) -> None:
    routes.send_to(account, serve())  # type: ignore[attr-defined]
    enqueue_message(account, "one")
    drain_queue(account)
    (row,) = json.loads(flask("accounts", "list", "--json").output)
    assert (row["sent_24h"], row["failed_24h"]) == (1, 0)


def test_an_account_is_suspended_and_resumed(flask: Run, owner: LintingClient) -> None:
    result = flask("accounts", "suspend", "brightleaf", "--reason", "complaints")
    assert (result.exit_code, result.output) == (0, "brightleaf is suspended.\n")
    assert state_of(brightleaf()) is AccountState.SUSPENDED
    assert brightleaf().suspension_reason == "complaints"
    assert flask("accounts", "suspend", "brightleaf").exit_code == 1
    assert flask("accounts", "resume", "brightleaf").exit_code == 0
    assert state_of(brightleaf()) is AccountState.ACTIVE
    assert flask("accounts", "resume", "brightleaf").exit_code == 1


@pytest.mark.parametrize("waiting", [True, False])
def test_an_account_is_approved(flask: Run, owner: LintingClient, waiting: bool) -> None:
    unapproved(waiting=waiting)
    result = flask("accounts", "approve", "brightleaf", "--json")
    assert json.loads(result.output) == {"account": "brightleaf", "changed": True, "result": "approved"}
    assert brightleaf().approved_at is not None
    assert state_of(brightleaf()) is AccountState.ACTIVE
    assert flask("accounts", "approve", "brightleaf").exit_code == 1


@pytest.mark.parametrize("command", ["approve", "suspend", "resume"])
def test_an_unknown_account_is_named_as_such(flask: Run, command: str) -> None:
    result = flask("accounts", command, "nobody")
    assert result.exit_code == 1
    assert "No account has this name" in result.output


def test_an_invitation_prints_a_link(flask: Run, owner: LintingClient) -> None:
    result = flask("accounts", "invite", "cy@dovetail.example")
    assert result.exit_code == 0
    assert result.output.startswith("http://127.0.0.1/register/invited/")
    assert json.loads(flask("accounts", "invite", "cy@dovetail.example", "--json").output)["link"]


@pytest.mark.parametrize("mailbox", ["nobody", "ada@brightleaf.example"])
def test_an_invitation_to_an_invalid_or_known_mailbox_is_refused(
    flask: Run, owner: LintingClient, mailbox: str
) -> None:
    result = flask("accounts", "invite", mailbox)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
