"""`flask outbox retry|cancel|release`: which messages are selected, which are left unchanged, and the dry run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import update

from portal.clock import utcnow
from portal.db import db
from portal.outbox import admin, overview, queue
from portal.outbox.admin import MessageSelection
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from portal.outbox.sending.drain import drain_queue
from tests.outbox import support
from tests.outbox.support import answering, attempts, enqueue_message, message, new_account

pytestmark = pytest.mark.both_databases
Run = Callable[..., Result]
REFUSED = {"code": "auth-refused", "whose_move": "owner", "cause": "The server refused the password."}


@pytest.fixture
def ours(app: Flask) -> int:
    return new_account()


@pytest.fixture
def theirs(app: Flask) -> int:
    return new_account("Copperpot")


def put(message_id: int, **values: Any) -> int:
    """Set columns of a message."""
    db.session.execute(update(OutboxMessage).where(OutboxMessage.id == message_id).values(**values))
    db.session.commit()
    return message_id


def failed(account: int | None, key: str, **values: Any) -> int:
    return put(enqueue_message(account, key), status=Status.FAILED, settled_at=utcnow(), attempts=7, **values)


def test_a_failed_message_is_queued_again_with_no_attempts(flask: Run, ours: int) -> None:
    message_id = failed(ours, "m")
    result = flask("outbox", "retry", "--id", str(message_id))
    row = message(message_id)
    assert result.exit_code == 0, result.output
    assert (row.status, row.attempts, row.settled_at) == (Status.QUEUED, 0, None)
    assert row.next_attempt_at <= utcnow()
    assert result.output == "1 message to be tried again.\n"


def test_a_dry_run_prints_the_changes_and_makes_none(flask: Run, ours: int) -> None:
    lost, waits = failed(ours, "lost"), enqueue_message(ours, "waits")
    queue.hold(ours, REFUSED, now=utcnow())
    db.session.commit()
    for arguments in (["retry", "--all"], ["cancel", "--all"], ["release", "--all"]):
        result = flask("outbox", *arguments, "--dry-run")
        assert result.exit_code == 0, result.output
        assert "Nothing was changed." in result.output
    assert [message(lost).status, message(waits).status] == [Status.FAILED, Status.HELD]
    assert support.queue(ours).held_at is not None
    assert (
        f"{lost}  brightleaf  lost@example.net  failed -> held"
        in flask("outbox", "retry", "--all", "--dry-run").output
    )


@pytest.mark.parametrize("state", [Status.SENDING, Status.SENT])
@pytest.mark.parametrize("lapsed", [True, False])
def test_a_message_that_is_being_sent_or_was_accepted_is_never_changed(
    flask: Run, ours: int, state: Status, lapsed: bool
) -> None:
    until = utcnow() + timedelta(seconds=-5 if lapsed else 60)
    lease = {"lease_token": "t", "lease_until": until} if state is Status.SENDING else {}
    message_id = put(enqueue_message(ours, "m"), status=state, **lease)
    for arguments in (["--id", str(message_id)], ["--all"], ["--account", "brightleaf"]):
        for command in ("retry", "cancel"):
            result = flask("outbox", command, *arguments)
            assert result.exit_code == 1
            assert "Nothing was changed" in result.output
    assert message(message_id).status is state
    assert message(message_id).lease_token == lease.get("lease_token")
    why = "is being sent at this moment" if state is Status.SENDING else "was accepted by a server"
    assert why in flask("outbox", "cancel", "--id", str(message_id)).output


def test_filters_are_combined(flask: Run, ours: int, theirs: int) -> None:
    old = utcnow() - timedelta(hours=3)
    mine, young, other = (
        failed(ours, "a", created_at=old),
        failed(ours, "b"),
        failed(theirs, "c", created_at=old),
    )
    assert flask("outbox", "retry", "--account", "brightleaf", "--older-than", "2h").exit_code == 0
    assert [message(one).status for one in (mine, young, other)] == [
        Status.QUEUED,
        Status.FAILED,
        Status.FAILED,
    ]
    assert flask("outbox", "cancel", "--status", "held", "--all").exit_code == 2
    assert flask("outbox", "cancel", "--status", "held").exit_code == 1
    assert flask("outbox", "cancel", "--status", "queued").exit_code == 0
    assert message(mine).status is Status.CANCELLED


@pytest.mark.parametrize("command", ["retry", "cancel", "release"])
@pytest.mark.parametrize(
    "arguments", [[], ["--account", "nobody"], ["--older-than", "soon"], ["--status", "sent"], ["--id", "x"]]
)
def test_an_invalid_command_line_changes_nothing(
    flask: Run, ours: int, command: str, arguments: list[str]
) -> None:
    message_id, waits = failed(ours, "m"), enqueue_message(ours, "n")
    assert flask("outbox", command, *arguments).exit_code == 2
    assert (message(message_id).status, message(waits).status) == (Status.FAILED, Status.QUEUED)


def test_a_retried_message_of_a_held_queue_is_held_until_the_queue_is_released(flask: Run, ours: int) -> None:
    message_id = failed(ours, "m")
    queue.hold(ours, REFUSED, now=utcnow())
    db.session.commit()
    assert "1 of them on hold" in flask("outbox", "retry", "--all").output
    assert message(message_id).status is Status.HELD
    result = flask("outbox", "release", "--account", "brightleaf")
    assert result.exit_code == 0
    assert "auth-refused" in result.output
    assert message(message_id).status is Status.QUEUED
    assert support.queue(ours).held_at is None
    assert flask("outbox", "release", "--account", "brightleaf").exit_code == 1


def test_releasing_by_message_id_releases_only_its_queue(flask: Run, ours: int, theirs: int) -> None:
    mine, other = enqueue_message(ours, "a"), enqueue_message(theirs, "b")
    for account in (ours, theirs):
        queue.hold(account, REFUSED, now=utcnow())
    db.session.commit()
    assert flask("outbox", "release", "--id", str(mine)).exit_code == 0
    assert (message(mine).status, message(other).status) == (Status.QUEUED, Status.HELD)


def test_a_paused_queue_is_released_too(flask: Run, ours: int) -> None:
    enqueue_message(ours, "m")
    db.session.execute(
        update(Queue).values(paused_until=utcnow() + timedelta(hours=1), consecutive_failures=3)
    )
    db.session.commit()
    assert flask("outbox", "release", "--all").exit_code == 0
    assert (support.queue(ours).paused_until, support.queue(ours).consecutive_failures) == (None, 0)


def test_the_body_of_the_portals_own_mail_is_cleared_when_it_is_cancelled(flask: Run, app: Flask) -> None:
    message_id = enqueue_message(None, "reset:1")
    assert message(message_id).text
    assert flask("outbox", "cancel", "--account", "@portal").exit_code == 0
    assert (message(message_id).status, message(message_id).text, message(message_id).html) == (
        Status.CANCELLED,
        "",
        "",
    )
    result = flask("outbox", "retry", "--status", "cancelled", "--id", str(message_id))
    assert result.exit_code == 1
    assert "wiped" in result.output


def test_test_emails_and_checks_are_never_retried_or_cancelled(flask: Run, ours: int) -> None:
    test, check = failed(ours, "t", is_test=True), put(enqueue_message(ours, "c"), forced_version_id=1)
    assert flask("outbox", "retry", "--all").exit_code == 1
    assert flask("outbox", "cancel", "--all").exit_code == 1
    assert (message(test).status, message(check).status) == (Status.FAILED, Status.QUEUED)


def test_a_retried_message_that_had_expired_gets_two_days_again(
    app: Flask, serve: Any, routes: Any, account: int
) -> None:
    server = serve(answering(RCPT=b"451 4.3.0 later\r\n"))
    routes.send_to(account, server)
    message_id = enqueue_message(account, "m")
    drain_queue(account)
    long_ago = utcnow() - timedelta(days=3)
    db.session.execute(update(DeliveryAttempt).values(started_at=long_ago))
    db.session.execute(update(Queue).values(paused_until=None))
    put(message_id, status=Status.FAILED, settled_at=utcnow())
    admin.retry(MessageSelection(message_ids=(message_id,)), now=utcnow())
    drain_queue(account)
    assert [one.outcome for one in attempts(message_id)] == [Outcome.DEFERRED, Outcome.DEFERRED]
    assert message(message_id).status is Status.QUEUED


def test_the_overview_counts_open_messages_and_the_attempts_of_the_last_hour(
    app: Flask, serve: Any, routes: Any, account: int
) -> None:
    routes.send_to(account, serve())
    enqueue_message(account, "sent")
    drain_queue(account)
    waits = enqueue_message(account, "waits")
    for counts_settled in (False, True):
        seen = overview.read_overview(utcnow(), counts_settled=counts_settled)
        assert (seen.depth, seen.counts[Status.SENT]) == (1, counts_settled)
        assert seen.attempts_last_hour == {Outcome.ACCEPTED: 1}
    assert seen.oldest == message(waits).created_at
    assert seen.leases == seen.stopped == seen.draining_accounts == []
