"""`flask outbox retry|cancel|release`: what is meant, what is left alone, and what a rehearsal changes."""

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


def put(ident: int, **values: Any) -> int:
    """Change a row, as somebody did before the test began."""
    db.session.execute(update(OutboxMessage).where(OutboxMessage.id == ident).values(**values))
    db.session.commit()
    return ident


def failed(account: int | None, key: str, **values: Any) -> int:
    return put(enqueue_message(account, key), status=Status.FAILED, settled_at=utcnow(), attempts=7, **values)


def test_a_failed_message_is_owed_again_from_the_beginning(flask: Run, ours: int) -> None:
    ident = failed(ours, "m")
    result = flask("outbox", "retry", "--id", str(ident))
    row = message(ident)
    assert result.exit_code == 0, result.output
    assert (row.status, row.attempts, row.settled_at) == (Status.QUEUED, 0, None)
    assert row.next_attempt_at <= utcnow()
    assert result.output == "1 message to be tried again.\n"


def test_a_rehearsed_order_says_what_it_would_do_and_changes_nothing(flask: Run, ours: int) -> None:
    lost, waits = failed(ours, "lost"), enqueue_message(ours, "waits")
    queue.hold(ours, REFUSED, now=utcnow())
    db.session.commit()
    for words in (["retry", "--all"], ["cancel", "--all"], ["release", "--all"]):
        result = flask("outbox", *words, "--dry-run")
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
def test_what_is_being_sent_or_was_sent_is_never_touched(
    flask: Run, ours: int, state: Status, lapsed: bool
) -> None:
    until = utcnow() + timedelta(seconds=-5 if lapsed else 60)
    lease = {"lease_token": "t", "lease_until": until} if state is Status.SENDING else {}
    ident = put(enqueue_message(ours, "m"), status=state, **lease)
    for words in (["--id", str(ident)], ["--all"], ["--account", "brightleaf"]):
        for order in ("retry", "cancel"):
            result = flask("outbox", order, *words)
            assert result.exit_code == 1
            assert "Nothing was changed" in result.output
    assert message(ident).status is state
    assert message(ident).lease_token == lease.get("lease_token")
    why = "is being sent at this moment" if state is Status.SENDING else "was accepted by a server"
    assert why in flask("outbox", "cancel", "--id", str(ident)).output


def test_filters_narrow_an_order_down_together(flask: Run, ours: int, theirs: int) -> None:
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


@pytest.mark.parametrize("order", ["retry", "cancel", "release"])
@pytest.mark.parametrize(
    "words", [[], ["--account", "nobody"], ["--older-than", "soon"], ["--status", "sent"], ["--id", "x"]]
)
def test_a_slip_of_the_command_line_changes_nothing(
    flask: Run, ours: int, order: str, words: list[str]
) -> None:
    ident, waits = failed(ours, "m"), enqueue_message(ours, "n")
    assert flask("outbox", order, *words).exit_code == 2
    assert (message(ident).status, message(waits).status) == (Status.FAILED, Status.QUEUED)


def test_a_message_of_a_held_queue_is_held_with_it_and_leaves_when_it_is_released(
    flask: Run, ours: int
) -> None:
    ident = failed(ours, "m")
    queue.hold(ours, REFUSED, now=utcnow())
    db.session.commit()
    assert "1 of them on hold" in flask("outbox", "retry", "--all").output
    assert message(ident).status is Status.HELD
    result = flask("outbox", "release", "--account", "brightleaf")
    assert result.exit_code == 0
    assert "auth-refused" in result.output
    assert message(ident).status is Status.QUEUED
    assert support.queue(ours).held_at is None
    assert flask("outbox", "release", "--account", "brightleaf").exit_code == 1


def test_releasing_by_a_message_releases_its_queue_alone(flask: Run, ours: int, theirs: int) -> None:
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


def test_the_words_of_the_portals_own_mail_are_wiped_when_it_is_cancelled(flask: Run, app: Flask) -> None:
    ident = enqueue_message(None, "reset:1")
    assert message(ident).text
    assert flask("outbox", "cancel", "--account", "@portal").exit_code == 0
    assert (message(ident).status, message(ident).text, message(ident).html) == (Status.CANCELLED, "", "")
    result = flask("outbox", "retry", "--status", "cancelled", "--id", str(ident))
    assert result.exit_code == 1
    assert "wiped" in result.output


def test_a_test_and_a_check_are_never_repeated_or_cancelled(flask: Run, ours: int) -> None:
    test, check = failed(ours, "t", is_test=True), put(enqueue_message(ours, "c"), forced_version_id=1)
    assert flask("outbox", "retry", "--all").exit_code == 1
    assert flask("outbox", "cancel", "--all").exit_code == 1
    assert (message(test).status, message(check).status) == (Status.FAILED, Status.QUEUED)


def test_a_retried_message_that_was_given_up_gets_its_two_days_again(
    app: Flask, serve: Any, routes: Any, account: int
) -> None:
    server = serve(answering(RCPT=b"451 4.3.0 later\r\n"))
    routes.send_to(account, server)
    ident = enqueue_message(account, "m")
    drain_queue(account)
    long_ago = utcnow() - timedelta(days=3)
    db.session.execute(update(DeliveryAttempt).values(started_at=long_ago))
    db.session.execute(update(Queue).values(paused_until=None))
    put(ident, status=Status.FAILED, settled_at=utcnow())
    admin.retry(MessageSelection(message_ids=(ident,)), now=utcnow())
    drain_queue(account)
    assert [one.outcome for one in attempts(ident)] == [Outcome.DEFERRED, Outcome.DEFERRED]
    assert message(ident).status is Status.QUEUED


def test_the_status_counts_what_is_owed_and_what_the_last_hour_brought(
    app: Flask, serve: Any, routes: Any, account: int
) -> None:
    routes.send_to(account, serve())
    enqueue_message(account, "sent")
    drain_queue(account)
    waits = enqueue_message(account, "waits")
    seen = overview.read_overview(utcnow())
    assert (seen.depth, seen.counts[Status.SENT], seen.attempts_last_hour) == (1, 1, {Outcome.ACCEPTED: 1})
    assert seen.oldest == message(waits).created_at
    assert seen.leases == seen.stopped == seen.draining_accounts == []
