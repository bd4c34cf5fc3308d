"""Claims and settlements: who may send a message now, and what came of it.

A claim is a lease with a token. The intent to send is recorded before the first byte, and a settlement
counts only while its token is the row's, so a worker frozen past its lease changes nothing when it wakes.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update

from ..db import db
from .models import DeliveryAttempt, Outcome, OutboxMessage, Queue, Status
from .queue import SYSTEM, queue_of


@dataclass(frozen=True)
class Claim:
    """The right to try one message until ``until``."""

    message: OutboxMessage
    attempt: DeliveryAttempt
    token: str


def take_queue(ident: int, *, now: datetime, lease: timedelta) -> str | None:
    """Take the account's queue for one drain; None while somebody else drains it. Commits."""
    queue = queue_of(ident or None)
    if queue.lease_until is not None and queue.lease_until > now:
        db.session.rollback()
        return None
    queue.lease_token, queue.lease_until = secrets.token_hex(8), now + lease
    token = queue.lease_token
    db.session.commit()
    return token


def give_queue_back(ident: int, token: str) -> None:
    """End a drain. Commits."""
    db.session.execute(
        update(Queue)
        .where(Queue.account_id == ident, Queue.lease_token == token)
        .values(lease_token=None, lease_until=None)
    )
    db.session.commit()


def claim_next(ident: int, token: str, *, now: datetime, lease: timedelta) -> Claim | None:
    """Claim the next due message of a queue one holds; None when nothing is due. Commits."""
    queue = queue_of(ident or None)
    if queue.lease_token != token:
        db.session.rollback()
        return None
    queue.lease_until = now + lease
    row = db.session.scalars(_next_due(queue, now)).first()
    if row is None:
        db.session.commit()
        return None
    if row.status is Status.HELD:  # one probe at a time, whatever becomes of this one
        queue.probe_at = now + lease
    return _claim(row, now=now, lease=lease)


def claim_one(message_id: int, *, now: datetime, lease: timedelta) -> Claim | None:
    """Claim one message by its id, as a check of settings does; None when it is settled or taken. Commits."""
    row = db.session.get(OutboxMessage, message_id)
    free = row is not None and (row.status is Status.QUEUED or _lapsed(row, now))
    if row is None or not free:
        db.session.rollback()
        return None
    return _claim(row, now=now, lease=lease)


def due_queues(now: datetime) -> list[int]:
    """Return the queues that have something to do, for the sweep that finds what nobody announced."""
    ident = func.coalesce(OutboxMessage.account_id, SYSTEM)
    query = (
        select(ident)
        .outerjoin(Queue, Queue.account_id == ident)
        .where(
            OutboxMessage.pinned_version.is_(None),
            or_(
                and_(
                    OutboxMessage.status == Status.QUEUED,
                    OutboxMessage.next_attempt_at <= now,
                    or_(Queue.pause_until.is_(None), Queue.pause_until <= now),
                ),
                and_(OutboxMessage.status == Status.SENDING, OutboxMessage.lease_until <= now),
                and_(OutboxMessage.status == Status.HELD, Queue.probe_at <= now),
            ),
            or_(Queue.lease_until.is_(None), Queue.lease_until <= now),
        )
        .distinct()
    )
    return list(db.session.scalars(query))


def settle(claim: Claim, *, now: datetime, status: Status, next_attempt_at: datetime | None = None) -> bool:
    """Record what became of a claimed message, with its attempt, as part of the present transaction.

    Returns False, having changed nothing, when the claim was lost meanwhile. The caller commits.
    """
    final = status in (Status.SENT, Status.FAILED)
    values: dict[str, Any] = {"status": status, "lease_token": None, "lease_until": None}
    if next_attempt_at is not None:
        values["next_attempt_at"] = next_attempt_at
    if final:
        values["settled_at"] = now
        if claim.message.private:  # it may hold a log-in link; nobody needs it any more
            values |= {"text": "", "html": ""}
    if status is Status.HELD or claim.attempt.outcome is Outcome.HELD:
        values["attempts"] = OutboxMessage.attempts - 1  # not this message's fault, so it does not count
    statement = (
        update(OutboxMessage)
        .where(OutboxMessage.id == claim.message.id, OutboxMessage.lease_token == claim.token)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    if db.session.execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        return False
    claim.attempt.ended_at = now
    db.session.expire(claim.message)
    return True


def _next_due(queue: Queue, now: datetime) -> Select[tuple[OutboxMessage]]:
    row = OutboxMessage
    account = None if queue.account_id == SYSTEM else queue.account_id
    due = and_(row.status == Status.QUEUED, row.next_attempt_at <= now)
    lapsed = and_(row.status == Status.SENDING, row.lease_until <= now)
    choices: list[ColumnElement[bool]] = [lapsed]
    if queue.held_at is not None:
        choices.append(and_(due, row.urgent))
        if queue.probe_at is not None and queue.probe_at <= now:
            choices.append(row.status == Status.HELD)
    elif queue.pause_until is not None and queue.pause_until > now:
        choices.append(and_(due, row.urgent))
    else:
        choices.append(due)
    return (
        select(row)
        .where(row.account_id == account, row.pinned_version.is_(None), or_(*choices))
        .order_by(row.urgent.desc(), row.id)
        .limit(1)
    )


def _lapsed(row: OutboxMessage, now: datetime) -> bool:
    return row.status is Status.SENDING and row.lease_until is not None and row.lease_until <= now


def _claim(row: OutboxMessage, *, now: datetime, lease: timedelta) -> Claim:
    numbers = select(func.max(DeliveryAttempt.number)).where(DeliveryAttempt.message_id == row.id)
    number = (db.session.scalar(numbers) or 0) + 1
    # An attempt that never ended belonged to a worker that died; the server may hold its message.
    db.session.execute(
        update(DeliveryAttempt)
        .where(DeliveryAttempt.message_id == row.id, DeliveryAttempt.outcome == Outcome.STARTED)
        .values(outcome=Outcome.INTERRUPTED, ambiguous=True, ended_at=now)
    )
    attempt = DeliveryAttempt(message_id=row.id, number=number, started_at=now, outcome=Outcome.STARTED)
    db.session.add(attempt)
    token = secrets.token_hex(8)
    row.status, row.lease_token, row.lease_until = Status.SENDING, token, now + lease
    row.attempts += 1
    db.session.commit()
    return Claim(row, attempt, token)
