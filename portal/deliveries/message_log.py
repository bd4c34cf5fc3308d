"""The delivery log: one page of it and its parts, always within one account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import defer, load_only

from ..db import db
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..web.pagination import Page
from . import search
from .models import LogRow
from .query_plan import Plan, make_plan
from .search import Count, Found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .filters import Filters, SearchField

TABS = (Status.QUEUED, Status.SENDING, Status.SENT, Status.HELD, Status.FAILED)
PAGE_SIZE = 50
_LISTED_COLUMNS = (
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
class LogPage:
    """One page of the log. ``last_attempts`` holds the newest attempt by message id, of those that were tried."""

    page: Page[Any]
    last_attempts: Mapping[int, DeliveryAttempt]
    outcomes: Mapping[int, str]  # by message id, of those of which one was reported
    counts: Mapping[Status, Count]
    total: Count
    matching: Count | None  # None beyond the first page of a windowed search
    search_field: SearchField  # that the query was searched in
    is_lower_bound: bool = False  # more may match than were counted
    search_from: int | None = None  # the id where a windowed search ended, if there are older messages


def read_page(
    account_id: int, filters: Filters, *, before: int | None = None, after: int | None = None
) -> LogPage:
    """Return one page of the account's messages, newest first."""
    plan = make_plan(account_id, filters)
    up = after is not None and before is None
    first = before is None and after is None
    counting = first and not plan.is_windowed
    size = search.MAX_COUNT if counting else PAGE_SIZE
    found = search.find(plan, before=before, after=after if up else None, size=size + 1)
    message_ids = found.message_ids
    more = len(message_ids) > PAGE_SIZE
    shown = (message_ids[1:] if up else message_ids[:PAGE_SIZE]) if more else message_ids
    page = Page(
        _rows(shown),
        shown[-1] if shown and (up or more) else None,
        shown[0] if shown and (more if up else before is not None) else None,
    )
    return LogPage(
        page=page,
        last_attempts=_last_attempts(shown),
        outcomes=_outcomes(shown),
        counts={status: search.count_status(account_id, status) for status in TABS},
        total=search.count_status(account_id, None),
        matching=_matching(plan, found, is_first=first),
        search_field=plan.search_field,
        is_lower_bound=found.seen_to is not None,
        search_from=None if up or more else found.seen_to,
    )


def _matching(plan: Plan, found: Found, *, is_first: bool) -> Count | None:
    """Return how many messages match, where it costs nothing or is read off an index."""
    if not plan.is_windowed:
        return search.counted(found) if is_first else search.count(plan)
    return (
        Count(
            min(len(found.message_ids), PAGE_SIZE),
            len(found.message_ids) > PAGE_SIZE or found.seen_to is not None,
        )
        if is_first
        else None
    )


def get_message(account_id: int, message_id: int) -> OutboxMessage | None:
    """Return one message of this account, or None."""
    return db.session.scalar(
        select(OutboxMessage).where(OutboxMessage.id == message_id, OutboxMessage.account_id == account_id)
    )


def log_row_of(message: OutboxMessage) -> LogRow | None:
    """Return a message's row in the log, which records when its text was removed."""
    return db.session.get(LogRow, message.id)


def copies_of(message: OutboxMessage) -> list[OutboxMessage]:
    """Return up to 20 messages that are copies of this one, newest first."""
    row = OutboxMessage
    query = select(row).where(row.copy_of_id == message.id, row.account_id == message.account_id)
    return list(
        db.session.scalars(query.options(load_only(*_LISTED_COLUMNS)).order_by(row.id.desc()).limit(20))
    )


def attempts_of(message: OutboxMessage) -> list[DeliveryAttempt]:
    """Return every attempt at a message, oldest first."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.message_id == message.id)
    return list(db.session.scalars(query.order_by(DeliveryAttempt.number)))


def count_held(account_id: int) -> Count:
    """Return how many messages are on hold."""
    return search.count_status(account_id, Status.HELD)


def _rows(message_ids: Sequence[int]) -> list[OutboxMessage]:
    query = (
        select(OutboxMessage).where(OutboxMessage.id.in_(message_ids)).options(load_only(*_LISTED_COLUMNS))
    )
    return list(db.session.scalars(query.order_by(OutboxMessage.id.desc())))


def _outcomes(message_ids: Sequence[int]) -> dict[int, str]:
    query = select(LogRow.message_id, LogRow.outcome).where(LogRow.message_id.in_(message_ids))
    return dict(db.session.execute(query.where(LogRow.outcome != "")).all())


def _last_attempts(message_ids: Sequence[int]) -> dict[int, DeliveryAttempt]:
    newest = (
        select(DeliveryAttempt.message_id, func.max(DeliveryAttempt.number).label("number"))
        .where(DeliveryAttempt.message_id.in_(message_ids))
        .group_by(DeliveryAttempt.message_id)
        .subquery()
    )
    query = select(DeliveryAttempt).join(
        newest,
        (DeliveryAttempt.message_id == newest.c.message_id) & (DeliveryAttempt.number == newest.c.number),
    )
    found = db.session.scalars(query.options(defer(DeliveryAttempt.transcript)))
    return {attempt.message_id: attempt for attempt in found}
