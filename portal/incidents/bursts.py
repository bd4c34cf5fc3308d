"""One refused address is nobody's incident; very many for the same reason are."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome
from . import lifecycle
from .models import Incident, Kind

if TYPE_CHECKING:
    from .lifecycle import Trouble

WITHIN = timedelta(hours=1)
AT_LEAST = 10
_SHARE = 0.5  # of all tries
_LOOKED_AT = 200  # tries at most, so that a flood of refusals does not read the whole log each time

MANY = {
    "kind": "recipient",
    "whose_move": "owner",
    "fixes": [
        "Look at the addresses below: were they imported, or typed by robots on the sign-up page?",
        "Stop what adds them before your provider stops you: very many refused addresses cost its trust.",
    ],
}


def look(trouble: Trouble, *, now: datetime) -> None:
    """Take a refusal down if it is one of very many. The caller commits."""
    many = _as_many(trouble)
    if _is_open(many) or _is_burst(trouble, now):
        lifecycle.note(many, now=now)


def _as_many(trouble: Trouble) -> Trouble:
    said = str(trouble.diagnosis.get("cause", "")).strip()
    host = trouble.server.rpartition(":")[0] or "The server"
    diagnosis = MANY | {
        "code": f"many-{trouble.cause}"[:80],
        "cause": f"{host} refuses very many emails for the same reason: {said}",
        "retry_class": "recipient",
    }
    return replace(trouble, kind=Kind.RECIPIENTS, diagnosis=diagnosis, patience=timedelta())


def _is_open(many: Trouble) -> bool:
    query = select(Incident.id).where(
        Incident.account_id == many.account_id,
        Incident.cause == many.cause,
        Incident.server == many.server,
        Incident.is_open,
    )
    return db.session.scalar(query) is not None


def _is_burst(trouble: Trouble, now: datetime) -> bool:
    """Whether more than half of the last hour's tries met this refusal, and at least ten did."""
    code = DeliveryAttempt.diagnosis["code"].as_string()
    query = (
        select(DeliveryAttempt.outcome, code)
        .join(OutboxMessage, OutboxMessage.id == DeliveryAttempt.message_id)
        .where(
            OutboxMessage.account_id == trouble.account_id,
            OutboxMessage.forced_version_id.is_(None),
            DeliveryAttempt.started_at > now - WITHIN,
            DeliveryAttempt.outcome != Outcome.STARTED,
        )
        .order_by(DeliveryAttempt.started_at.desc())
        .limit(_LOOKED_AT)
    )
    tries = db.session.execute(query).all()
    refused = sum(outcome is Outcome.REJECTED and said == trouble.cause for outcome, said in tries)
    return bool(refused >= AT_LEAST and refused > _SHARE * len(tries))
