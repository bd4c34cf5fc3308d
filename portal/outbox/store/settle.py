"""Settlement: records the result of a claimed message and of its attempt, while the claim is current.

A worker that was frozen past its lease finds another token in the row and changes nothing. No function here commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, update

from ...db.transaction import current_connection
from ..models import OutboxMessage, Outcome, Status
from . import attempts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...smtp.protocol.envelope import Acceptance
    from .types import Claim

_MESSAGE: Table = OutboxMessage.__table__  # type: ignore[assignment]
LEASE_CLEARED = {"lease_token": None, "lease_until": None}
BODY_CLEARED = {"text": "", "html": ""}
_CLAIMED = update(_MESSAGE).where(
    _MESSAGE.c.id == bindparam("claimed_id"), _MESSAGE.c.lease_token == bindparam("token")
)
_BATCH_SENT = (
    update(_MESSAGE)
    .where(
        _MESSAGE.c.id.in_(bindparam("claimed_ids", expanding=True)),
        _MESSAGE.c.lease_token == bindparam("token"),
    )
    .values(
        status=Status.SENT,
        settled_at=bindparam("now"),
        attempts=_MESSAGE.c.attempts + 1,  # the claim's tries: nothing else changes a claimed message
        **LEASE_CLEARED,
    )
    .returning(_MESSAGE.c.id)
)


def settle(
    claim: Claim,
    *,
    now: datetime,
    status: Status,
    attempt: dict[str, Any],
    next_attempt_at: datetime | None = None,
) -> bool:
    """Record the result of a claimed message and of its attempt, whose columns are ``attempt``.

    Returns False, with nothing changed, if the claim was lost.
    """
    values: dict[str, Any] = {"status": status, **LEASE_CLEARED}
    if next_attempt_at is not None:
        values["next_attempt_at"] = next_attempt_at
    if status in (Status.SENT, Status.FAILED):
        values["settled_at"] = now
        if claim.message.is_sealed:  # it may contain a log-in link and is not needed any more
            values |= BODY_CLEARED
    if status is not Status.HELD and attempt["outcome"] is not Outcome.HELD:
        values["attempts"] = claim.tries  # a held try does not count: the settings are at fault
    if not update_claimed(claim.message.id, claim.token, values):
        return False
    result = {**attempt, "ended_at": now}
    claim.attempt_id = claim.started_attempt_id
    if claim.started_attempt_id:
        attempts.complete(claim.started_attempt_id, result)
    else:
        claim.attempt_id = attempts.insert_attempt(
            claim.message.id, claim.started_at or now, claim.route, result
        )
    return True


def settle_accepted(accepted: Sequence[tuple[Claim, Acceptance, str]], *, now: datetime) -> list[bool]:
    """Record claimed messages as sent, each with the server's acceptance and the transcript.

    Returns whether each claim was current; where it was lost, nothing is changed. Messages whose start is in the
    acceptance log only are recorded together: the table has no attempt row of theirs yet, so a few statements serve any
    number of messages.
    """
    current: set[int] = set()
    batch = []
    for claim, acceptance, transcript in accepted:
        attempt = {**attempts.acceptance_columns(acceptance), "transcript": transcript}
        if not claim.started_attempt_id and not claim.message.is_sealed:
            batch.append((claim, attempt))
        elif settle(claim, now=now, status=Status.SENT, attempt={"outcome": Outcome.ACCEPTED, **attempt}):
            current.add(claim.message.id)
    if batch:
        current |= _settle_batch(batch, now)
    return [claim.message.id in current for claim, _, _ in accepted]


def update_claimed(message_id: int, token: str, values: dict[str, Any]) -> bool:
    """Change a message that is claimed under ``token``; False, with nothing changed, if that claim was lost."""
    changed = current_connection().execute(_CLAIMED, {"claimed_id": message_id, "token": token, **values})
    return bool(changed.rowcount)


def _settle_batch(batch: Sequence[tuple[Claim, dict[str, Any]]], now: datetime) -> set[int]:
    """Record messages of one drain, which share its token, as sent; return the ids of those still claimed."""
    values = {"claimed_ids": [claim.message.id for claim, _ in batch], "token": batch[0][0].token, "now": now}
    current = set(current_connection().execute(_BATCH_SENT, values).scalars())
    sent = [(claim, attempt) for claim, attempt in batch if claim.message.id in current]
    if not sent:
        return current
    result = {"outcome": Outcome.ACCEPTED, "ended_at": now}
    rows = [
        {
            "message_id": claim.message.id,
            "started_at": claim.started_at or now,
            **claim.route,
            **attempt,
            **result,
        }
        for claim, attempt in sent
    ]
    ids = attempts.insert_attempts(rows)
    for claim, _ in sent:
        claim.attempt_id = ids[claim.message.id]
    return current
