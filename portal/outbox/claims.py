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
from .models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from .queue import SYSTEM, queue_of


@dataclass(frozen=True)
class Claim:
    """The right to try one message until ``until``."""

    message: OutboxMessage
    attempt: DeliveryAttempt
    token: str


def take_queue(ident: int, *, now: datetime, lease: timedelta) -> str | None:
    """Take the account's queue for one drain; None while somebody else drains it. Commits."""
    queue_of(ident or None)
    token = secrets.token_hex(8)
    free = or_(Queue.lease_until.is_(None), Queue.lease_until <= now)
    taken = _update_queue(Queue.account_id == ident, free, lease_token=token, lease_until=now + lease)
    db.session.commit()
    return token if taken else None


def give_queue_back(ident: int, token: str) -> None:
    """End a drain. Commits."""
    _update_queue(Queue.account_id == ident, Queue.lease_token == token, lease_token=None, lease_until=None)
    db.session.commit()


def claim_next(ident: int, token: str, *, now: datetime, lease: timedelta) -> Claim | None:
    """Claim the next due message of a queue one holds. Commits.

    Returns None when nothing is due, having given the queue back in the same commit: whoever enqueues
    after that finds it free, and nothing waits for the next sweep.
    """
    queue = db.session.get(Queue, ident, with_for_update=True, populate_existing=True)
    if queue is None or queue.lease_token != token:
        db.session.rollback()
        return None
    row = db.session.scalars(_next_due(ident, now)).first()
    queue.lease_until = now + lease
    if row is None:
        queue.lease_token = queue.lease_until = None
        db.session.commit()
        return None
    if queue.held_at is not None and not row.urgent:
        queue.probe_at = now + lease  # one probe at a time, whatever becomes of this one
    return _claim(row, now=now, lease=lease)


def claim_one(message_id: int, *, now: datetime, lease: timedelta) -> Claim | None:
    """Claim one message by its id, as a check of settings does; None when it is settled or taken. Commits."""
    row = db.session.get(OutboxMessage, message_id, with_for_update=True, populate_existing=True)
    free = row is not None and (row.status is Status.QUEUED or _lapsed(row, now))
    if row is None or not free:
        db.session.rollback()
        return None
    return _claim(row, now=now, lease=lease)


def renew(claim: Claim, *, now: datetime, lease: timedelta) -> bool:
    """Make a claim last from now on, as part of the present transaction; False when it was lost meanwhile."""
    row = claim.message
    db.session.refresh(row, with_for_update=True)
    if row.lease_token != claim.token:
        return False
    row.lease_until = now + lease
    return True


def due_queues(now: datetime) -> list[int]:
    """Return the queues that have something to do, for the sweep that finds what nobody announced."""
    ident = func.coalesce(OutboxMessage.account_id, SYSTEM)
    query = (
        select(ident)
        .outerjoin(Queue, Queue.account_id == ident)
        .where(
            OutboxMessage.pinned_version.is_(None),
            _may_leave(now),
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


def _next_due(ident: int, now: datetime) -> Select[OutboxMessage]:
    account = None if ident == SYSTEM else ident
    return (
        select(OutboxMessage)
        .join(Queue, Queue.account_id == ident)
        .where(OutboxMessage.account_id == account, OutboxMessage.pinned_version.is_(None), _may_leave(now))
        .order_by(OutboxMessage.urgent.desc(), OutboxMessage.id)
        .limit(1)
        # Where writers work side by side, whoever settles that message at this moment is not waited for.
        .with_for_update(of=OutboxMessage, skip_locked=True)
        .execution_options(populate_existing=True)
    )


def _may_leave(now: datetime) -> ColumnElement[bool]:
    """The one rule of what may be tried now, over a message and its queue (which may not exist yet).

    A test goes even while the queue is held or paused. A held queue lets one message out as a probe when
    its time has come. A message whose worker died goes as soon as its lease has lapsed. A message that was
    held just as its queue was let go, by two transactions side by side, is not left behind.
    """
    row = OutboxMessage
    due = and_(row.status == Status.QUEUED, row.next_attempt_at <= now)
    forgotten = and_(row.status == Status.HELD, row.next_attempt_at <= now)
    lapsed = and_(row.status == Status.SENDING, row.lease_until <= now)
    moving = and_(Queue.held_at.is_(None), or_(Queue.pause_until.is_(None), Queue.pause_until <= now))
    probe = and_(Queue.held_at.is_not(None), Queue.probe_at <= now, or_(row.status == Status.HELD, due))
    return or_(lapsed, and_(due, or_(row.urgent, moving)), and_(forgotten, moving), probe)


def _update_queue(*where: ColumnElement[bool], **values: Any) -> bool:
    statement = update(Queue).where(*where).values(values).execution_options(synchronize_session=False)
    return bool(db.session.execute(statement).rowcount == 1)  # type: ignore[attr-defined]


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
