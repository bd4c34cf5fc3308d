"""Delivery attempts: the rows that record when a message was submitted, by which route, and the result.

No function here commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, func, insert, select, update

from ...db import db
from ...db.transaction import current_connection
from ...smtp.failure import Stage
from ..models import DeliveryAttempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...smtp.protocol.envelope import Acceptance
    from ...smtp.protocol.reply import Reply
    from ..routing import Route

_ENHANCED_CODE_CHARS, _REPLY_TEXT_CHARS, _QUEUE_ID_CHARS = 12, 500, 120  # of the columns
_ATTEMPT: Table = DeliveryAttempt.__table__  # type: ignore[assignment]
_HIGHEST_NUMBERS = (
    select(_ATTEMPT.c.message_id, func.max(_ATTEMPT.c.number))
    .where(_ATTEMPT.c.message_id.in_(bindparam("message_ids", expanding=True)))
    .group_by(_ATTEMPT.c.message_id)
)
_INSERT = insert(_ATTEMPT).returning(_ATTEMPT.c.message_id, _ATTEMPT.c.id)
_NEXT_NUMBER = select(func.coalesce(func.max(_ATTEMPT.c.number), 0) + 1).where(
    _ATTEMPT.c.message_id == bindparam("same_message")
)
_INSERT_ONE = insert(_ATTEMPT).values(number=_NEXT_NUMBER.scalar_subquery()).returning(_ATTEMPT.c.id)
_COMPLETE = update(_ATTEMPT).where(_ATTEMPT.c.id == bindparam("attempt_id"))


def insert_attempt(
    message_id: int, now: datetime, route: dict[str, Any], result: dict[str, Any] | None = None
) -> int:
    """Insert an attempt that started ``now``; without a result it records the start alone. Return its id."""
    row = {"message_id": message_id, "same_message": message_id, "started_at": now, **route, **(result or {})}
    return int(current_connection().execute(_INSERT_ONE, row).scalar_one())


def insert_attempts(rows: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Insert one attempt for each of several messages; return the attempts' ids by message id.

    Each row has ``message_id``, ``started_at`` and the known columns of route and result; all rows have the same
    columns.
    """
    connection = current_connection()
    message_ids = [row["message_id"] for row in rows]
    numbers = dict(connection.execute(_HIGHEST_NUMBERS, {"message_ids": message_ids}).all())
    numbered = [{**row, "number": numbers.get(row["message_id"], 0) + 1} for row in rows]
    return dict(connection.execute(_INSERT, numbered).all())


def complete(attempt_id: int, result: dict[str, Any]) -> None:
    """Record the result of an attempt."""
    current_connection().execute(_COMPLETE, {"attempt_id": attempt_id, **result})


def reply_columns(reply: Reply) -> dict[str, Any]:
    """Return the columns of an attempt that store a server's reply, cut to their lengths."""
    return {
        "reply_code": reply.code,
        "enhanced_code": (reply.enhanced or "")[:_ENHANCED_CODE_CHARS],
        "reply_text": reply.text[:_REPLY_TEXT_CHARS],
    }


def acceptance_columns(acceptance: Acceptance) -> dict[str, Any]:
    """Return the columns of an attempt that store a server's acceptance."""
    queue_id = (acceptance.queue_id or "")[:_QUEUE_ID_CHARS]
    return {"stage": Stage.DATA.value, **reply_columns(acceptance.reply), "queue_id": queue_id}


def find_started(message_id: int) -> int | None:
    """Return the id of the attempt whose start is recorded and whose result is not; None if there is none."""
    return db.session.scalar(select_started(message_id).limit(1))


def select_started(message_id: int | ColumnElement[int]) -> Select[int]:
    """Return the query of ``find_started``, for use as a subquery."""
    return select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.outcome == Outcome.STARTED
    )


def mark_interrupted(message_id: int, now: datetime) -> bool:
    """End a started attempt whose result is unknown: the server may hold the message. False if there is none."""
    started = (_ATTEMPT.c.message_id == message_id, _ATTEMPT.c.outcome == Outcome.STARTED)
    values = {"outcome": Outcome.INTERRUPTED, "ambiguous": True, "ended_at": now}
    return bool(db.session.execute(update(_ATTEMPT).where(*started).values(values)).rowcount)  # type: ignore[attr-defined]


def is_possibly_delivered(message_id: int) -> bool:
    """Whether a server may have the message already: a further copy then needs the same Message-ID."""
    query = select(_ATTEMPT.c.id).where(_ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous)
    return db.session.scalar(query.limit(1)) is not None


def is_possibly_with_other_server(message_id: int, route: Route) -> bool:
    """Whether the other of the two servers (the account's own, the platform's) may have the message."""
    other = _ATTEMPT.c.version_number.is_(None)
    if route.version_number is None:
        other = _ATTEMPT.c.version_number.is_not(None)
    is_known = _ATTEMPT.c.server != ""  # unknown if a power cut took the recorded start
    query = select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous, other, is_known
    )
    return db.session.scalar(query.limit(1)) is not None
