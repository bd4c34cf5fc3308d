"""The delivery log: one page of it and its parts, always within one account."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import load_only

from ..db import db
from ..db.prepared import PreparedStatement, bind_ids, ids_in
from ..db.transaction import current_dialect
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..web.pagination import Count, Page
from . import search
from .models import LogRow
from .query_plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .filters import Filters
    from .search import Found

TABS = (Status.QUEUED, Status.SENDING, Status.SENT, Status.HELD, Status.FAILED)
_TABS_AND_ALL, _HELD_AND_ALL = (*TABS, None), (Status.HELD, None)
PAGE_SIZE = 50
_LISTED_COLUMNS = (
    OutboxMessage.kind,
    OutboxMessage.recipient,
    OutboxMessage.recipient_name,
    OutboxMessage.subject,
    OutboxMessage.status,
    OutboxMessage.is_test,
    OutboxMessage.forced_version_id,
    OutboxMessage.copy_of_id,
    OutboxMessage.created_at,
    OutboxMessage.settled_at,
)
_Row = namedtuple("_Row", ("id", *(column.key for column in _LISTED_COLUMNS), "outcome"))  # type: ignore[misc]
_Attempt = namedtuple(
    "_Attempt", ("message_id", "outcome", "reply_code", "enhanced_code", "reply_text", "diagnosis")
)


@dataclass(frozen=True)
class LogPage:
    """One page of the log, of rows with ``_LISTED_COLUMNS`` and ``outcome``, which is empty if none was reported.

    ``last_attempts`` holds what ``message_page.problem`` shows of the newest attempt, by message id, of those that were tried.
    """

    page: Page[Any]
    last_attempts: Mapping[int, Any]
    counts: Mapping[Status, Count]  # of what is searched
    total: Count
    matching: Count | None  # None beyond the first page of a windowed search
    is_empty: bool  # the account has no messages at all
    held: Count  # on hold, whatever is searched
    is_lower_bound: bool = False  # more may match than were counted
    search_from: int | None = None  # the id where a windowed search ended, if there are older messages


def read_page(
    account_id: int, filters: Filters, *, before: int | None = None, after: int | None = None
) -> LogPage:
    """Return one page of the account's messages, newest first."""
    plan = make_plan(account_id, filters)
    up = after is not None and before is None
    first = before is None and after is None
    size = search.MAX_COUNT if first else PAGE_SIZE
    found = search.find(plan, before=before, after=after if up else None, size=size + 1)
    message_ids = found.message_ids
    more = len(message_ids) > PAGE_SIZE
    shown = (message_ids[1:] if up else message_ids[:PAGE_SIZE]) if more else message_ids
    newest = shown[0] if shown and (more or not up) else found.seen_to  # from which to search upwards
    page = Page(
        _rows(shown),
        shown[-1] if shown and (up or more) else None,
        newest if up or (shown and before is not None) else None,
    )
    matching = search.counted(found) if first else None if plan.is_windowed else search.count(plan)
    numbers = search.count_statuses(account_id, _HELD_AND_ALL if filters.narrowed else _TABS_AND_ALL)
    counts, total = (
        _counts_of_search(account_id, filters, found if first else None)
        if filters.narrowed
        else ({status: numbers[status] for status in TABS}, numbers[None])
    )
    if matching is not None and filters.narrowed and filters.status is not None:
        counts = {**counts, filters.status: matching}
    return LogPage(
        page=page,
        last_attempts=_last_attempts(shown),
        counts=counts,
        total=total,
        matching=matching,
        is_empty=not numbers[None],
        held=numbers[Status.HELD],
        is_lower_bound=found.seen_to is not None,
        search_from=None if up or more else found.seen_to,
    )


def _counts_of_search(
    account_id: int, filters: Filters, first_page: Found | None
) -> tuple[Mapping[Status, Count], Count]:
    """Return how many messages of what is searched each tab lists, and all of them.

    ``first_page`` is what was found for the first page. Where more match than are counted, the newest are counted.
    """
    if first_page is None or filters.status is not None:
        plan = make_plan(account_id, filters.without("status"))
        first_page = search.find(plan, size=search.MAX_COUNT + 1)
    total, by_status = search.counted(first_page), search.count_by_status(first_page)
    return {status: by_status.get(status, Count(0, total.more)) for status in TABS}, total


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


def _rows(message_ids: Sequence[int]) -> Sequence[Any]:
    """Return the columns that a page shows of messages, newest first, with the outcome that was reported."""
    dialect = current_dialect()
    return [_Row(*row) for row in _rows_statement(dialect).all(ids=bind_ids(message_ids, dialect))]


@cache
def _rows_statement(dialect: str) -> PreparedStatement:
    """Return the statement, which every page of the log runs. Plain rows cost less than objects of the session."""
    columns: Any = (OutboxMessage.id, *_LISTED_COLUMNS, LogRow.outcome)
    query: Select[Any] = select(*columns)
    query = query.outerjoin(LogRow, LogRow.message_id == OutboxMessage.id)
    query = query.where(ids_in(OutboxMessage.id, "ids", dialect))
    return PreparedStatement(query.order_by(OutboxMessage.id.desc()))


def _last_attempts(message_ids: Sequence[int]) -> dict[int, Any]:
    dialect = current_dialect()
    found = _last_attempts_statement(dialect).all(ids=bind_ids(message_ids, dialect))
    return {row[0]: _Attempt(*row) for row in found}


@cache
def _last_attempts_statement(dialect: str) -> PreparedStatement:
    """Return the statement for what ``message_page.problem`` shows of an attempt."""
    row = DeliveryAttempt
    newest = (
        select(row.message_id, func.max(row.number).label("number"))
        .where(ids_in(row.message_id, "ids", dialect))
        .group_by(row.message_id)
        .subquery()
    )
    query = select(*(getattr(row, name) for name in _Attempt._fields))
    return PreparedStatement(
        query.join(newest, (row.message_id == newest.c.message_id) & (row.number == newest.c.number))
    )
