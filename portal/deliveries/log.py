"""The delivery log: queries over the outbox, always within one account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Queue, Status
from ..web.pagination import Page, newest_first

FILTERS = (Status.QUEUED, Status.SENDING, Status.SENT, Status.HELD, Status.FAILED)


@dataclass(frozen=True)
class Log:
    """One page of the log. ``last`` holds the newest attempt at each message that was tried."""

    page: Page[Any]
    last: Mapping[int, DeliveryAttempt]
    counts: Mapping[Status, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def read(account_id: int, *, status: Status | None, before: int | None, after: int | None) -> Log:
    """Return one page of the account's messages, newest first."""
    query = select(OutboxMessage).where(OutboxMessage.account_id == account_id)
    if status is not None:
        query = query.where(OutboxMessage.status == status)
    page = newest_first(query, OutboxMessage.id, before=before, after=after)
    return Log(page, _last_attempts(page.rows), counts(account_id))


def counts(account_id: int) -> dict[Status, int]:
    """Return how many messages stand where."""
    query = (
        select(OutboxMessage.status, func.count())
        .where(OutboxMessage.account_id == account_id)
        .group_by(OutboxMessage.status)
    )
    return {row[0]: row[1] for row in db.session.execute(query)}


def message_of(account_id: int, message_id: int) -> OutboxMessage | None:
    """Return one message of this account; somebody else's is not found."""
    return db.session.scalar(
        select(OutboxMessage).where(OutboxMessage.id == message_id, OutboxMessage.account_id == account_id)
    )


def attempts_at(message: OutboxMessage) -> list[DeliveryAttempt]:
    """Return every attempt at a message, the first one first."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    return list(db.session.scalars(query.order_by(DeliveryAttempt.number)))


def queue_row(account_id: int) -> Queue | None:
    """Return the account's queue, if anything was ever sent. Unlike the outbox's own, it makes no row."""
    return db.session.get(Queue, account_id)


def held_queue(account_id: int) -> Queue | None:
    """Return the account's queue if it is held."""
    queue = queue_row(account_id)
    return queue if queue is not None and queue.held_at is not None else None


def waiting(account_id: int) -> int:
    """Return how many messages wait for the account's settings to be mended."""
    query = select(func.count()).where(
        OutboxMessage.account_id == account_id, OutboxMessage.status == Status.HELD
    )
    return db.session.scalar(query) or 0


def _last_attempts(rows: Sequence[OutboxMessage]) -> dict[int, DeliveryAttempt]:
    idents = [row.id for row in rows]
    newest = (
        select(DeliveryAttempt.message_id, func.max(DeliveryAttempt.number).label("number"))
        .where(DeliveryAttempt.message_id.in_(idents))
        .group_by(DeliveryAttempt.message_id)
        .subquery()
    )
    query = select(DeliveryAttempt).join(
        newest,
        (DeliveryAttempt.message_id == newest.c.message_id) & (DeliveryAttempt.number == newest.c.number),
    )
    return {attempt.message_id: attempt for attempt in db.session.scalars(query)}
