"""How much an account has sent through the platform's sender within the last 24 hours.

What was submitted within that time was settled within it, or is claimed now. So the log's index of settled messages and
the outbox's index of open ones find them all, however many wait or have left before. The log is a table of a higher room,
which the database's triggers keep in step with the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, column, func, or_, select, table, text, union_all

from ..db import UTCDateTime, db
from ..outbox.models import OPEN, DeliveryAttempt, OutboxMessage, Outcome, Status
from ..recipient_limits import one_spelling

SPAN = timedelta(hours=24)
_LOG = table(
    "delivery_log",
    column("message_id", BigInteger),
    column("account_id", BigInteger),
    column("settled_at", UTCDateTime()),
).c
_SUBMITTED = (Outcome.STARTED, Outcome.ACCEPTED, Outcome.INTERRUPTED)  # the server has it, or may have it


@dataclass
class Use:
    """The emails to one recipient: how many, and when the first of them was submitted."""

    count: int = 0
    first_at: datetime | None = None

    def add(self, count: int, first_at: datetime | None) -> None:
        self.count += count
        times = [one for one in (self.first_at, first_at) if one is not None]
        self.first_at = min(times, default=None)


def count(account_id: int, now: datetime) -> int:
    """Return how many emails count within the span."""
    return sum(use.count for use in by_recipient(account_id, now).values())


def by_recipient(account_id: int, now: datetime) -> dict[str, Use]:
    """Return the use by recipient, in one spelling: emails submitted within the span, and those that are claimed now."""
    is_recent = (
        (DeliveryAttempt.started_at > now - SPAN)
        & DeliveryAttempt.version_number.is_(None)
        & DeliveryAttempt.outcome.in_(_SUBMITTED)
    )
    settled = select(_LOG.message_id).where(_LOG.account_id == account_id, _LOG.settled_at > now - SPAN)
    claimed = select(OutboxMessage.id).where(
        OutboxMessage.account_id == account_id, OutboxMessage.status == Status.SENDING, text(OPEN)
    )
    query = (
        select(
            OutboxMessage.recipient,
            func.count(OutboxMessage.id.distinct()),
            func.min(DeliveryAttempt.started_at),
        )
        .outerjoin(DeliveryAttempt, (DeliveryAttempt.message_id == OutboxMessage.id) & is_recent)
        .where(
            OutboxMessage.id.in_(union_all(settled, claimed)),
            OutboxMessage.forced_version_id.is_(None),
            or_(OutboxMessage.status == Status.SENDING, DeliveryAttempt.id.is_not(None)),
        )
        .group_by(OutboxMessage.recipient)
    )
    found: dict[str, Use] = {}
    for recipient, count, first_at in db.session.execute(query):
        found.setdefault(one_spelling(recipient.casefold()), Use()).add(count, first_at)
    return found
