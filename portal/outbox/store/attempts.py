"""Attempts: the rows that say when a message was handed in, by which way, and what came of it. Nothing here commits."""

# ruff: noqa: S608 - the words are put together from constants of this house; values are bound

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, func, insert, select, text, update

from ...db import UTCDateTime, db
from ...db.prepared import PreparedStatement, json_field, sqlite_datetime
from ..models import DeliveryAttempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ..routing import Route

_ATTEMPT: Table = DeliveryAttempt.__table__  # type: ignore[assignment]


def write(message_id: int, now: datetime, way: dict[str, Any], result: dict[str, Any] | None = None) -> int:
    """Write an attempt down that began ``now``; without its result, it is the intent. Returns its id."""
    known = {**way, **(result or {})}
    return int(_writing(tuple(known)).scalar(i=message_id, now=now, **prefixed(known)))


def write_accepted(ended: Sequence[tuple[int, datetime, dict[str, Any]]], now: datetime) -> dict[int, int]:
    """Write down in SQLite that messages were accepted: of each its id, when the attempt began, and its columns.

    Returns the attempt's id by the message's.
    """
    rows = [
        [message_id, sqlite_datetime(began), *(values[name] for name in _TOLD)]
        for message_id, began, values in ended
    ]
    return dict(_ACCEPTED.all(rows=json.dumps(rows), now=now))


def complete(attempt_id: int, values: dict[str, Any]) -> None:
    """Write down how an attempt ended."""
    _completing(tuple(values)).rowcount(i=attempt_id, **prefixed(values))


def under_way(message_id: int) -> int | None:
    """Return the attempt whose intent is recorded and whose end is not."""
    return db.session.scalar(of_those_under_way(message_id).limit(1))


def of_those_under_way(message_id: int | ColumnElement[int]) -> Select[int]:
    """Return the question for ``under_way``, to be part of another."""
    return select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.outcome == Outcome.STARTED
    )


def interrupt(message_id: int, now: datetime) -> bool:
    """End an attempt of which nobody knows how it ended; False where there is none."""
    mine = (_ATTEMPT.c.message_id == message_id, _ATTEMPT.c.outcome == Outcome.STARTED)
    values = {"outcome": Outcome.INTERRUPTED, "ambiguous": True, "ended_at": now}
    return bool(db.session.execute(update(_ATTEMPT).where(*mine).values(values)).rowcount)  # type: ignore[attr-defined]


def may_have_arrived(message_id: int) -> bool:
    """Whether a server may hold the message already: then its twin has to carry the same Message-ID."""
    query = select(_ATTEMPT.c.id).where(_ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous)
    return db.session.scalar(query.limit(1)) is not None


def may_be_elsewhere(message_id: int, route: Route) -> bool:
    """Whether the account's own server may hold it and the way is the platform's for now, or the reverse."""
    other = _ATTEMPT.c.version_number.is_(None)
    if route.version_number is None:
        other = _ATTEMPT.c.version_number.is_not(None)
    named = _ATTEMPT.c.server != ""  # an intent that a power cut took says nothing of the way
    query = select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous, other, named
    )
    return db.session.scalar(query.limit(1)) is not None


def prefixed(values: dict[str, Any]) -> dict[str, Any]:
    """Return values under the names their parameters have here, lest they meet a column's."""
    return {f"v_{name}": value for name, value in values.items()}


@cache
def _writing(names: tuple[str, ...]) -> PreparedStatement:
    earlier = select(func.coalesce(func.max(_ATTEMPT.c.number), 0) + 1)
    usual: dict[str, Any] = {
        "version_number": None,
        "server": "",
        "sender": "",
        "outcome": Outcome.STARTED,
        "ambiguous": False,
        "stage": "",
        "enhanced_code": "",
        "reply_text": "",
        "queue_id": "",
        "transcript": "",
        "traceback": "",
    }
    told: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    return PreparedStatement(
        insert(_ATTEMPT)
        .values(
            message_id=bindparam("i"),
            number=earlier.where(_ATTEMPT.c.message_id == bindparam("i")).scalar_subquery(),
            started_at=bindparam("now"),
            **{**usual, **told},
        )
        .returning(_ATTEMPT.c.id)
    )


# What is told of each that was accepted; the rest is the same for all of them.
_TOLD = (
    "version_number",
    "server",
    "sender",
    "stage",
    "reply_code",
    "enhanced_code",
    "reply_text",
    "queue_id",
    "transcript",
)
_ACCEPTED = PreparedStatement(
    text(
        f"INSERT INTO delivery_attempt (message_id, started_at, {', '.join(_TOLD)}, ended_at, number, outcome,"
        f" ambiguous, traceback) SELECT {', '.join(json_field(place) for place in range(len(_TOLD) + 2))}, :now,"
        " (SELECT coalesce(max(e.number), 0) + 1 FROM delivery_attempt e"
        f" WHERE e.message_id = {json_field(0)}), 'accepted', 0, ''"
        " FROM json_each(:rows) AS r WHERE true RETURNING message_id, id"
    ).bindparams(bindparam("now", type_=UTCDateTime()))
)


@cache
def _completing(names: tuple[str, ...]) -> PreparedStatement:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    return PreparedStatement(update(_ATTEMPT).where(_ATTEMPT.c.id == bindparam("i")).values(values))
