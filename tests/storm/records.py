"""The two records that a check compares: the log of the mail servers and the tables of the portal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portal.db import db, read_only
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status

from .guarantees import MessageRow, ReceivedMessage, ServerLog
from .instance import Instance

_UNSETTLED = (Status.QUEUED, Status.SENDING, Status.HELD)


def read_log(path: Path) -> ServerLog:
    """Read the log of the mail servers, without a last line that is incomplete."""
    received, refused, closed = [], set(), {}
    for entry in _entries(path):
        event, _ = entry.pop("event"), entry.pop("at")
        if event == "received":
            received.append(ReceivedMessage(**entry))
        elif event == "refused":
            refused.add(entry["recipient"])
        else:
            closed[entry["connection"]] = entry["how"]
    return ServerLog(received, frozenset(refused), closed)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def read_tables(instance: Instance) -> list[MessageRow]:
    """Read every message with a summary of its attempts."""
    with instance.app.app_context(), read_only():
        attempts: dict[int, list[DeliveryAttempt]] = {}
        for attempt in db.session.scalars(db.select(DeliveryAttempt).order_by(DeliveryAttempt.number)):
            attempts.setdefault(attempt.message_id, []).append(attempt)
        query = db.select(OutboxMessage).order_by(OutboxMessage.id)
        rows = [_row(message, attempts.get(message.id, [])) for message in db.session.scalars(query)]
        db.session.rollback()
        return rows


def _row(message: OutboxMessage, attempts: list[DeliveryAttempt]) -> MessageRow:
    last = attempts[-1] if attempts else None
    return MessageRow(
        id=message.id,
        key=message.key,
        recipient=message.recipient,
        account=message.account_id or 0,
        status=str(message.status),
        message_id=message.message_id,
        ambiguous_attempts=sum(one.ambiguous or one.outcome is Outcome.INTERRUPTED for one in attempts),
        reason=(last.diagnosis or {}).get("cause", "") if last else "",
    )


def count_unsettled(instance: Instance) -> int:
    with instance.app.app_context(), read_only():
        query = db.select(db.func.count()).where(OutboxMessage.status.in_(_UNSETTLED))
        count = db.session.scalar(query) or 0
        db.session.rollback()
        return count
