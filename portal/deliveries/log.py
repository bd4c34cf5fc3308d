"""What became of each message: queries over the outbox, always within one account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Queue, Status
from ..web.pagination import Page, newest_first

FILTERS = (Status.QUEUED, Status.SENDING, Status.SENT, Status.HELD, Status.FAILED)


@dataclass(frozen=True)
class Story:
    """A message and every attempt at it, the first attempt first."""

    message: OutboxMessage
    attempts: list[DeliveryAttempt]

    @property
    def last(self) -> DeliveryAttempt | None:
        return self.attempts[-1] if self.attempts else None


def page(account_id: int, *, status: Status | None, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of the account's messages, newest first."""
    query = select(OutboxMessage).where(OutboxMessage.account_id == account_id)
    if status is not None:
        query = query.where(OutboxMessage.status == status)
    return newest_first(query, OutboxMessage.id, before=before, after=after)


def counts(account_id: int) -> dict[Status, int]:
    """Return how many messages stand where."""
    query = (
        select(OutboxMessage.status, func.count())
        .where(OutboxMessage.account_id == account_id)
        .group_by(OutboxMessage.status)
    )
    return {status: count for status, count in db.session.execute(query)}


def story(account_id: int, message_id: int) -> Story | None:
    """Return one message of this account with its attempts."""
    message = db.session.scalar(
        select(OutboxMessage).where(OutboxMessage.id == message_id, OutboxMessage.account_id == account_id)
    )
    if message is None:
        return None
    attempts = db.session.scalars(
        select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id).order_by(DeliveryAttempt.number)
    )
    return Story(message, list(attempts))


def held_queue(account_id: int) -> Queue | None:
    """Return the account's queue if it is held."""
    return db.session.scalar(select(Queue).where(Queue.account_id == account_id, Queue.held_at.is_not(None)))


def waiting(account_id: int) -> int:
    """Return how many messages wait for the account's settings to be mended."""
    query = select(func.count()).where(OutboxMessage.account_id == account_id, OutboxMessage.status == Status.HELD)
    return db.session.scalar(query) or 0
