"""The delivery log: one page of it, one message of it, always within one account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import defer, load_only

from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..web.pagination import Page
from . import search
from .models import DeliveryLine
from .query_plan import Plan, plan
from .search import Count, Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .filters import By, Filters

TABS = (Status.QUEUED, Status.SENDING, Status.SENT, Status.HELD, Status.FAILED)
SIZE = 50
_LISTED = (
    OutboxMessage.kind,
    OutboxMessage.recipient,
    OutboxMessage.subject,
    OutboxMessage.status,
    OutboxMessage.is_test,
    OutboxMessage.forced_version_id,
    OutboxMessage.copy_of_id,
    OutboxMessage.created_at,
    OutboxMessage.settled_at,
)


@dataclass(frozen=True)
class Log:
    """One page of the log. ``last`` holds the newest attempt at each message that was tried."""

    page: Page[Any]
    last: Mapping[int, DeliveryAttempt]
    counts: Mapping[Status, Count]
    total: Count
    matching: Count | None  # nobody counts again what is looked at in parts
    meant: By  # where the search searched
    at_least: bool = False  # more may match than were counted
    further: int | None = None  # nothing (more) was found down to this id, but there are older ones


def read(account_id: int, filters: Filters, *, before: int | None = None, after: int | None = None) -> Log:
    """Return one page of the account's messages, newest first."""
    asked = plan(account_id, filters)
    up = after is not None and before is None
    first = before is None and after is None
    counting = first and not asked.windowed
    size = search.MOST if counting else SIZE
    found = search.find(asked, before=before, after=after if up else None, size=size + 1)
    idents = found.idents
    more = len(idents) > SIZE
    shown = (idents[1:] if up else idents[:SIZE]) if more else idents
    page = Page(
        _rows(shown),
        shown[-1] if shown and (up or more) else None,
        shown[0] if shown and (more if up else before is not None) else None,
    )
    return Log(
        page=page,
        last=_last_attempts(shown),
        counts={status: search.count_status(account_id, status) for status in TABS},
        total=search.count_status(account_id, None),
        matching=_matching(asked, found, first),
        meant=asked.meant,
        at_least=found.seen_to is not None,
        further=None if up or more else found.seen_to,
    )


def _matching(asked: Plan, found: Found, first: bool) -> Count | None:
    """Count what matches, where that costs nothing or is read off an index."""
    if not asked.windowed:
        return search.counted(found) if first else search.count(asked)
    return (
        Count(min(len(found.idents), SIZE), len(found.idents) > SIZE or found.seen_to is not None)
        if first
        else None
    )


def message_of(account_id: int, message_id: int) -> OutboxMessage | None:
    """Return one message of this account; somebody else's is not found."""
    return db.session.scalar(
        select(OutboxMessage).where(OutboxMessage.id == message_id, OutboxMessage.account_id == account_id)
    )


def line_of(message: OutboxMessage) -> DeliveryLine | None:
    """Return a message's line, which remembers when its text was removed."""
    return db.session.get(DeliveryLine, message.id)


def copies_of(message: OutboxMessage) -> list[OutboxMessage]:
    """Return the messages that are further copies of this one, the newest first."""
    row = OutboxMessage
    query = select(row).where(row.copy_of_id == message.id, row.account_id == message.account_id)
    return list(db.session.scalars(query.options(load_only(*_LISTED)).order_by(row.id.desc()).limit(20)))


def attempts_at(message: OutboxMessage) -> list[DeliveryAttempt]:
    """Return every attempt at a message, the first one first."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    return list(db.session.scalars(query.order_by(DeliveryAttempt.number)))


def waiting(account_id: int) -> Count:
    """Return how many messages wait for the account's settings to be mended."""
    return search.count_status(account_id, Status.HELD)


def _rows(idents: Sequence[int]) -> list[OutboxMessage]:
    query = select(OutboxMessage).where(OutboxMessage.id.in_(idents)).options(load_only(*_LISTED))
    return list(db.session.scalars(query.order_by(OutboxMessage.id.desc())))


def _last_attempts(idents: Sequence[int]) -> dict[int, DeliveryAttempt]:
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
    found = db.session.scalars(query.options(defer(DeliveryAttempt.transcript)))
    return {attempt.message_id: attempt for attempt in found}
