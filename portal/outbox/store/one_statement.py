# ruff: noqa: S608 - the SQL is composed from constants of this file; values are bound
"""Settlement and the next start in one statement, for PostgreSQL.

As statements of their own, the parts of a settlement cost up to fourteen round trips and most of the processor time of a
message. Here they are one prepared statement that commits itself: it settles messages while their claims are current,
completes their attempts and records the next start. With ``SIGNET_RECORD=each`` it settles one message, whose start is in
the table; by the log it settles all that were accepted since the last settlement.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from ...db import db
from ...db.postgresql import id_array
from ...db.urls import AUTOCOMMIT_BIND
from ..queue import SYSTEM
from . import attempts
from .claims import mark_started

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...smtp.protocol.envelope import Acceptance
    from ..routing import Route
    from .types import Claim

_log = logging.getLogger(__name__)

# The casts give each parameter one type, so that one prepared statement serves all values. The condition on the queue
# leaves the messages to a transaction if the queue was held or released since the batch was claimed, or if one of them is
# the first of its batch, so that its acceptance ends a hold or pause, and there is one to end.
_QUEUE_ALLOWS = """EXISTS (
            SELECT FROM outbox_queue
            WHERE account_id = %(queue)s::bigint AND generation = %(generation)s::bigint AND (NOT %(first)s::boolean
                OR healthy AND held_at IS NULL AND paused_until IS NULL AND consecutive_failures = 0 AND ramp_limit IS NULL)
        )"""
_NEXT_START = """INSERT INTO delivery_attempt
        (message_id, number, version_number, server, sender, started_at, outcome, ambiguous, stage, enhanced_code,
        reply_text, queue_id, transcript, traceback)
    SELECT %(next)s::bigint,
        (SELECT coalesce(max(number), 0) + 1 FROM delivery_attempt WHERE message_id = %(next)s::bigint),
        %(version_number)s::bigint, %(server)s::text, %(sender)s::text, coalesce(%(started_at)s::timestamptz, now()),
        'started', false, '', '', '', '', '', ''"""
_ONE = f"""
WITH settled AS (
    UPDATE outbox_message
    SET status = 'sent', settled_at = now(), attempts = %(tries)s::bigint, lease_token = NULL, lease_until = NULL
    WHERE id = %(id)s::bigint AND lease_token = %(token)s::text
        AND {_QUEUE_ALLOWS}
    RETURNING id
), ended AS (
    UPDATE delivery_attempt
    SET outcome = 'accepted', ended_at = now(), stage = %(stage)s::text, reply_code = %(reply_code)s::bigint,
        enhanced_code = %(enhanced_code)s::text, reply_text = %(reply_text)s::text, queue_id = %(queue_id)s::text,
        transcript = %(transcript)s::text
    WHERE id = %(attempt)s::bigint AND EXISTS (SELECT FROM settled)
), started AS (
    {_NEXT_START}
    FROM settled
    RETURNING id
)
SELECT id, now() FROM started
"""
# The lists of ids beside the rows let PostgreSQL look each row up by its key, whatever it assumes about their number.
_SEVERAL = f"""
WITH accepted AS (
    SELECT * FROM json_to_recordset(%(accepted)s::json) AS row(id bigint, attempt bigint, started_at timestamptz,
        version_number bigint, server text, sender text, stage text, reply_code bigint, enhanced_code text,
        reply_text text, queue_id text, transcript text)
), settled AS (
    UPDATE outbox_message
    SET status = 'sent', settled_at = now(), attempts = attempts + 1, lease_token = NULL, lease_until = NULL
    WHERE id = ANY(%(ids)s::bigint[]) AND lease_token = %(token)s::text
        AND {_QUEUE_ALLOWS}
    RETURNING id
), ended AS (
    UPDATE delivery_attempt
    SET outcome = 'accepted', ended_at = now(), stage = one.stage, reply_code = one.reply_code,
        enhanced_code = one.enhanced_code, reply_text = one.reply_text, queue_id = one.queue_id,
        transcript = one.transcript
    FROM accepted AS one JOIN settled ON settled.id = one.id
    WHERE delivery_attempt.id = ANY(%(attempts)s::bigint[]) AND delivery_attempt.id = one.attempt
), inserted AS (
    INSERT INTO delivery_attempt
        (message_id, number, version_number, server, sender, started_at, ended_at, outcome, ambiguous, stage, reply_code,
        enhanced_code, reply_text, queue_id, transcript, traceback)
    SELECT one.id, (SELECT coalesce(max(number), 0) + 1 FROM delivery_attempt WHERE message_id = one.id),
        one.version_number, one.server, one.sender, one.started_at, now(), 'accepted', false, one.stage, one.reply_code,
        one.enhanced_code, one.reply_text, one.queue_id, one.transcript, ''
    FROM accepted AS one JOIN settled ON settled.id = one.id
    WHERE one.attempt = 0
), started AS (
    {_NEXT_START}
    FROM (SELECT count(*) AS number FROM settled) AS found
    WHERE found.number = cardinality(%(ids)s::bigint[])
        AND EXISTS (SELECT FROM outbox_message WHERE id = %(next)s::bigint AND lease_token = %(token)s::text)
    RETURNING id
)
SELECT id, now() FROM started
"""


def settle_and_start(
    accepted: Sequence[tuple[Claim, Acceptance, str]], following: Claim, route: Route, *, generation: int
) -> datetime | None:
    """Record that messages of one drain were accepted and that the attempt of ``following`` starts; return when. Commits.

    Each has its transcript last. ``following`` may have started already, with the log as the only record of that. None if a
    claim was lost, if the queue is to be changed or was changed, or after a database error: then the caller uses a
    transaction, which finds out what is the case.
    """
    claim = accepted[0][0]
    values: dict[str, Any] = {
        "token": claim.token,
        "queue": claim.message.account_id or SYSTEM,
        "generation": generation,
        "first": any(one.first for one, _, _ in accepted),
        "next": following.message.id,
        "started_at": following.started_at,
        **route.attempt_columns,
    }
    if len(accepted) == 1 and claim.started_attempt_id:
        statement, own = _ONE, _values_of_one(*accepted[0])
    else:
        statement, own = _SEVERAL, _values_of_several(accepted)
    row = _run(statement, values | own)
    if row is None:
        return None
    now: datetime = row[1].astimezone(UTC)
    mark_started(following, route, now=following.started_at or now)
    following.started_attempt_id = row[0]
    return now


def _values_of_one(claim: Claim, acceptance: Acceptance, transcript: str) -> dict[str, Any]:
    return {
        "id": claim.message.id,
        "tries": claim.tries,
        "attempt": claim.started_attempt_id,
        "transcript": transcript,
        **attempts.acceptance_columns(acceptance),
    }


def _values_of_several(accepted: Sequence[tuple[Claim, Acceptance, str]]) -> dict[str, Any]:
    rows = [
        {
            "id": claim.message.id,
            "attempt": claim.started_attempt_id,
            "started_at": claim.started_at.isoformat() if claim.started_at else None,
            **claim.route,
            **attempts.acceptance_columns(acceptance),
            "transcript": transcript,
        }
        for claim, acceptance, transcript in accepted
    ]
    # JSON escapes NUL, so that the connection's own replacement of it (db/postgresql.py) does not find it.
    clean = [
        {name: one.replace("\0", "\ufffd") if isinstance(one, str) else one for name, one in row.items()}
        for row in rows
    ]
    return {
        "accepted": json.dumps(clean),
        "ids": id_array(claim.message.id for claim, _, _ in accepted),
        "attempts": id_array(claim.started_attempt_id for claim, _, _ in accepted),
    }


def _run(statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    engine = db.engines[AUTOCOMMIT_BIND]
    error_class = engine.dialect.loaded_dbapi.Error
    try:
        driver = engine.raw_connection()
    except (SQLAlchemyError, error_class):
        return None
    found: tuple[Any, ...] | None = None
    try:
        connection: Any = driver.driver_connection
        found = connection.execute(statement, values, prepare=True).fetchone()
    except error_class as error:
        # Without the error's text, in which PostgreSQL quotes the row.
        _log.debug("messages are settled by a transaction, after %s", type(error).__name__)
        driver.invalidate()
    finally:
        driver.close()
    return found
