"""Settlements: what became of a claimed message, with its attempt. One counts only while its claim does.

Nothing here commits. What a server has accepted comes in numbers, while the journal is record enough: in SQLite, a
statement for all of them costs less than half of what one for each would.
"""

# ruff: noqa: S608 - the words are put together from constants of this house; values are bound

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, text, update

from ...db import UTCDateTime
from ...db.prepared import PreparedStatement, json_field
from ...db.transaction import current_connection
from ..models import OutboxMessage, Outcome, Status
from . import attempts
from .attempts import prefixed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .types import Claim

_MESSAGE: Table = OutboxMessage.__table__  # type: ignore[assignment]
LET_GO = {"lease_token": None, "lease_until": None}
WIPED = {"text": "", "html": ""}


def settle(
    claim: Claim,
    *,
    now: datetime,
    status: Status,
    attempt: dict[str, Any],
    next_attempt_at: datetime | None = None,
) -> bool:
    """Record what became of a claimed message, with its attempt, as part of the present transaction.

    Returns False, having changed nothing, when the claim was lost meanwhile.
    """
    values: dict[str, Any] = {"status": status, **LET_GO}
    if next_attempt_at is not None:
        values["next_attempt_at"] = next_attempt_at
    if status in (Status.SENT, Status.FAILED):
        values["settled_at"] = now
        if claim.message.is_sealed:  # it may hold a log-in link; nobody needs it any more
            values |= WIPED
    if status is not Status.HELD and attempt["outcome"] is not Outcome.HELD:
        values["attempts"] = claim.tries  # held: not this message's fault, so it does not count
    if not settle_rows(claim.message.id, claim.token, values):
        return False
    result = {**attempt, "ended_at": now}
    claim.attempt_id = claim.intent_id
    if claim.intent_id:
        attempts.complete(claim.intent_id, result)
    else:
        claim.attempt_id = attempts.write(claim.message.id, claim.begun_at or now, claim.route, result)
    return True


def settle_accepted(taken: Sequence[tuple[Claim, dict[str, Any]]], *, now: datetime) -> list[bool]:
    """Record claimed messages as sent, each with the columns of its attempt; return whether each claim still held."""
    held: set[int] = set()
    together = []
    on_sqlite = current_connection().dialect.name == "sqlite"
    for claim, attempt in taken:
        # Nothing of it is in the table but its claim, and nothing is to be wiped.
        if on_sqlite and not claim.intent_id and not claim.message.is_sealed:
            together.append((claim, attempt))
        elif settle(claim, now=now, status=Status.SENT, attempt={"outcome": Outcome.ACCEPTED, **attempt}):
            held.add(claim.message.id)
    if together:
        held |= _settle_together(together, now)
    return [claim.message.id in held for claim, _ in taken]


def settle_rows(message_id: int, token: str, values: dict[str, Any]) -> bool:
    """Change a message while it is being sent under this very claim."""
    return bool(_settling(tuple(values)).rowcount(i=message_id, t=token, **prefixed(values)))


@cache
def _settling(names: tuple[str, ...]) -> PreparedStatement:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    mine = (_MESSAGE.c.id == bindparam("i"), _MESSAGE.c.lease_token == bindparam("t"))
    return PreparedStatement(update(_MESSAGE).where(*mine).values(values))


# -- many at once


def _settle_together(taken: Sequence[tuple[Claim, dict[str, Any]]], now: datetime) -> set[int]:
    rows = [[claim.message.id, claim.token, claim.tries] for claim, _ in taken]
    held = {ident for (ident,) in _SENT.all(rows=json.dumps(rows), now=now)}
    ended = [(claim, attempt) for claim, attempt in taken if claim.message.id in held]
    written = attempts.write_accepted(
        [(claim.message.id, claim.begun_at or now, claim.route | attempt) for claim, attempt in ended], now
    )
    for claim, _ in ended:
        claim.attempt_id = written[claim.message.id]
    return held


_SENT = PreparedStatement(
    text(
        "UPDATE outbox_message SET status = 'sent', lease_token = NULL, lease_until = NULL, settled_at = :now,"
        f" attempts = {json_field(2)} FROM json_each(:rows) AS r"
        f" WHERE outbox_message.id = {json_field(0)} AND outbox_message.lease_token = {json_field(1)} RETURNING id"
    ).bindparams(bindparam("now", type_=UTCDateTime()))
)
