"""The two records a verdict compares: the log of the mail servers and the tables of the portal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portal.db import db, read_only
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status

from .instance import Instance
from .verdict import Log, Row, Taken

_OPEN = (Status.QUEUED, Status.SENDING, Status.HELD)


def read_log(path: Path) -> Log:
    """Read what the mail servers wrote down; a last line that is not finished yet is left out."""
    taken, refused, ended = [], set(), {}
    for one in _lines(path):
        event, _ = one.pop("event"), one.pop("at")
        if event == "taken":
            taken.append(Taken(**one))
        elif event == "refused":
            refused.add(one["recipient"])
        else:
            ended[one["connection"]] = one["how"]
    return Log(taken, frozenset(refused), ended)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def read_tables(instance: Instance) -> list[Row]:
    """Read every message with what its attempts admit."""
    with instance.app.app_context(), read_only():
        attempts: dict[int, list[DeliveryAttempt]] = {}
        for one in db.session.scalars(db.select(DeliveryAttempt).order_by(DeliveryAttempt.number)):
            attempts.setdefault(one.message_id, []).append(one)
        query = db.select(OutboxMessage).order_by(OutboxMessage.id)
        rows = [_row(message, attempts.get(message.id, [])) for message in db.session.scalars(query)]
        db.session.rollback()
        return rows


def _row(message: OutboxMessage, attempts: list[DeliveryAttempt]) -> Row:
    last = attempts[-1] if attempts else None
    return Row(
        id=message.id,
        key=message.key,
        recipient=message.recipient,
        account=message.account_id or 0,
        status=str(message.status),
        message_id=message.message_id,
        admitted=sum(one.ambiguous or one.outcome is Outcome.INTERRUPTED for one in attempts),
        reason=(last.diagnosis or {}).get("cause", "") if last else "",
    )


def open_messages(instance: Instance) -> int:
    """How many messages are not settled yet."""
    with instance.app.app_context(), read_only():
        query = db.select(db.func.count()).where(OutboxMessage.status.in_(_OPEN))
        count = db.session.scalar(query) or 0
        db.session.rollback()
        return count
