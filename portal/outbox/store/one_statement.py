"""Settlement and the next start in one statement, for PostgreSQL with ``SIGNET_RECORD=each``.

A drain that records each acceptance before the next message needs a transaction for each. As statements of their own,
its parts cost seven round trips and most of the processor time of a message. Here they are one prepared statement that
commits itself: it settles a message while its claim is current, completes its attempt and records the next start.
It changes all of that or nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from ...db import db
from ...db.urls import AUTOCOMMIT_BIND
from ..queue import SYSTEM
from . import attempts
from .claims import mark_started

if TYPE_CHECKING:
    from datetime import datetime

    from ...smtp.protocol.envelope import Acceptance
    from ..routing import Route
    from .types import Claim

_log = logging.getLogger(__name__)

# The casts give each parameter one type, so that one prepared statement serves all values. The condition on the queue
# leaves the message to a transaction if the queue was held or released since the batch was claimed, or if the message is
# the first of its batch, so that its acceptance ends a hold or pause, and there is one to end.
_STATEMENT = """
WITH settled AS (
    UPDATE outbox_message
    SET status = 'sent', settled_at = now(), attempts = %(tries)s::bigint, lease_token = NULL, lease_until = NULL
    WHERE id = %(id)s::bigint AND lease_token = %(token)s::text
        AND EXISTS (
            SELECT FROM outbox_queue
            WHERE account_id = %(queue)s::bigint AND generation = %(generation)s::bigint AND (NOT %(first)s::boolean
                OR healthy AND held_at IS NULL AND paused_until IS NULL AND consecutive_failures = 0 AND ramp_limit IS NULL)
        )
    RETURNING id
), ended AS (
    UPDATE delivery_attempt
    SET outcome = 'accepted', ended_at = now(), stage = %(stage)s::text, reply_code = %(reply_code)s::bigint,
        enhanced_code = %(enhanced_code)s::text, reply_text = %(reply_text)s::text, queue_id = %(queue_id)s::text,
        transcript = %(transcript)s::text
    WHERE id = %(attempt)s::bigint AND EXISTS (SELECT FROM settled)
), started AS (
    INSERT INTO delivery_attempt
        (message_id, number, version_number, server, sender, started_at, outcome, ambiguous, stage, enhanced_code,
        reply_text, queue_id, transcript, traceback)
    SELECT %(next)s::bigint,
        (SELECT coalesce(max(number), 0) + 1 FROM delivery_attempt WHERE message_id = %(next)s::bigint),
        %(version_number)s::bigint, %(server)s::text, %(sender)s::text, now(), 'started', false, '', '', '', '', '', ''
    FROM settled
    RETURNING id
)
SELECT id, now() FROM started
"""


def settle_and_start(
    accepted: tuple[Claim, Acceptance, str], following: Claim, route: Route, *, generation: int
) -> datetime | None:
    """Record that a message was accepted and that the attempt of ``following`` starts; return when. Commits.

    None if the claim was lost, if the queue is to be changed or was changed, or after a database error: then the caller uses
    a transaction, which finds out what is the case.
    """
    claim, acceptance, transcript = accepted
    values: dict[str, Any] = {
        "id": claim.message.id,
        "token": claim.token,
        "tries": claim.tries,
        "queue": claim.message.account_id or SYSTEM,
        "generation": generation,
        "first": claim.first,
        "attempt": claim.started_attempt_id,
        "transcript": transcript,
        "next": following.message.id,
        **attempts.acceptance_columns(acceptance),
        **route.attempt_columns,
    }
    row = _run(values)
    if row is None:
        return None
    now: datetime = row[1].astimezone(UTC)
    mark_started(following, route, now=now)
    following.started_attempt_id = row[0]
    return now


def _run(values: dict[str, Any]) -> tuple[Any, ...] | None:
    engine = db.engines[AUTOCOMMIT_BIND]
    error_class = engine.dialect.loaded_dbapi.Error
    try:
        driver = engine.raw_connection()
    except (SQLAlchemyError, error_class):
        return None
    found: tuple[Any, ...] | None = None
    try:
        connection: Any = driver.driver_connection
        found = connection.execute(_STATEMENT, values, prepare=True).fetchone()
    except error_class as error:
        # Without the error's text, in which PostgreSQL quotes the row.
        _log.debug("a message is settled by a transaction, after %s", type(error).__name__)
        driver.invalidate()
    finally:
        driver.close()
    return found
