"""Query planner of the log: turns filters into conditions and decides which of them leads, that is, reads its index.

A query can be a mailbox, an id or words of a subject. Message ids grow with time, so days become a range of ids, with
an hour of margin for transactions that committed later than they took their id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from ..db import db
from ..outbox.models import Status
from .filters import Filters, SearchField
from .models import FAILED, NOT_EMPTY, LogRow

if TYPE_CHECKING:
    from collections.abc import Sequence

RARE_ROWS = 500  # a condition that fewer messages meet is rare: its messages can be checked one by one
SORTABLE_ROWS = 5000  # ids that can be sorted for one page
_SKEW = timedelta(hours=1)  # how long a transaction may take from its id to its commit
_HIGHEST_CHARACTER = "\U0010ffff"  # sorts after every other character


@dataclass(frozen=True)
class Condition:
    """A column and its value: equal, a prefix, a lower bound (inclusive) or an upper bound (exclusive).

    With ``failed`` the message must also have failed; there are indexes of such pairs.
    """

    column: Any
    value: Any
    failed: bool = False
    prefix: bool = False
    more_than: bool = False
    less_than: bool = False

    def indexed(self) -> ColumnElement[bool]:
        """Return the condition so that the planner uses its index."""
        partial = FAILED if self.failed else NOT_EMPTY.get(self.column.key)
        return self._compare(self.column) if partial is None else and_(partial, self._compare(self.column))

    def unindexed(self) -> ColumnElement[bool]:
        """Return the condition so that the planner uses no index for it, because another condition leads."""
        compared = self._compare(func.coalesce(self.column, self.column))
        return (
            and_(func.coalesce(LogRow.status, LogRow.status) == Status.FAILED, compared)
            if self.failed
            else compared
        )

    def _compare(self, column: Any) -> Any:
        if self.prefix:
            return and_(column >= self.value, column < self.value + _HIGHEST_CHARACTER)
        if self.more_than:
            return column >= self.value
        return column < self.value if self.less_than else column == self.value


@dataclass(frozen=True)
class Plan:
    """How filters are answered: ``leading`` is read off an index, ``rest`` is checked on its messages."""

    account_id: int
    search_field: SearchField = SearchField.AUTO  # that the query is searched in
    leading: Sequence[Condition] = ()
    rest: Sequence[Condition] = ()
    days: Sequence[Condition] = ()
    low: int = 0  # every id within the days is higher
    high: int | None = None  # and lower than this
    words: str = ""  # searched in subjects
    max_leading: int = 0  # fewer messages than this meet the leading condition; 0: many do
    is_windowed: bool = False  # no condition is rare, so one page searches only a part of the log


def make_plan(account_id: int, filters: Filters) -> Plan:
    """Decide how to answer the filters for one account."""
    search_field, searched, words = _interpret(account_id, filters)
    others = _conditions(filters)
    low, high = _id_range(account_id, filters)
    days = _days(filters)
    leading: list[Condition] = []
    rest, max_leading = others, 0
    if not words:
        leading, rest, max_leading = _choose_leading(account_id, searched + others, is_dated=bool(days))
    return Plan(
        account_id=account_id,
        search_field=search_field,
        leading=leading,
        rest=rest,
        days=days,
        low=low,
        high=high,
        words=words,
        max_leading=max_leading,
        is_windowed=bool(rest) and max_leading == 0,
    )


def count_matching(account_id: int, condition: Condition, limit: int) -> int:
    """Count the account's messages that meet one condition, up to ``limit``."""
    some = select(LogRow.message_id).where(LogRow.account_id == account_id, condition.indexed())
    return db.session.scalar(select(func.count()).select_from(some.limit(limit).subquery())) or 0


def _choose_leading(
    account_id: int, conditions: list[Condition], *, is_dated: bool
) -> tuple[list[Condition], list[Condition], int]:
    """Return the leading condition, the rest, and ``Plan.max_leading``."""
    if len(conditions) < 2 and not (conditions and conditions[0].prefix):
        return conditions, [], 0
    limit = RARE_ROWS if len(conditions) > 1 or is_dated else SORTABLE_ROWS
    number, place = min(
        (count_matching(account_id, condition, limit), n) for n, condition in enumerate(conditions)
    )
    first = conditions[place]
    if number < limit:
        return [first], [condition for condition in conditions if condition is not first], limit
    first = next((condition for condition in conditions if not condition.prefix), first)
    if first.prefix:  # its index is sorted by mailbox and not by time, so no index leads
        return [], conditions, 0
    return [first], [condition for condition in conditions if condition is not first], 0


def _interpret(account_id: int, filters: Filters) -> tuple[SearchField, list[Condition], str]:
    """Return the field that the query is searched in, and its condition or its words."""
    q, by = filters.q, filters.by
    if not q:
        return SearchField.AUTO, [], ""
    if by is SearchField.SUBJECT:
        return SearchField.SUBJECT, [], q
    if by is SearchField.ID:
        return SearchField.ID, [_id_condition(q)], ""
    if by is SearchField.RECIPIENT:
        return SearchField.RECIPIENT, [_recipient_condition(q)], ""
    return _interpret_freely(account_id, q)


def _interpret_freely(account_id: int, q: str) -> tuple[SearchField, list[Condition], str]:
    """Interpret a query without a chosen field: an id if there is such a message, else a recipient, else words."""
    if " " not in q and not q.startswith("@") and count_matching(account_id, _id_condition(q), 1):
        return SearchField.ID, [_id_condition(q)], ""
    if q.startswith("<"):
        return SearchField.ID, [_id_condition(q)], ""
    if "@" in q or (" " not in q and count_matching(account_id, _recipient_condition(q), 1)):
        return SearchField.RECIPIENT, [_recipient_condition(q)], ""
    return SearchField.SUBJECT, [], q


def _recipient_condition(q: str) -> Condition:
    """Return the condition for a domain after an @, a whole mailbox, or the start of one."""
    q = q.lower()
    if q.startswith("@"):
        return Condition(LogRow.domain, q[1:])
    local, at, domain = q.rpartition("@")
    whole = local and at and "." in domain and domain.rpartition(".")[2]
    return Condition(LogRow.recipient, q, prefix=not whole)


def _id_condition(q: str) -> Condition:
    """Return the condition for a Message-ID, with or without brackets, or a queue id."""
    if "@" not in q and not q.startswith("<"):
        return Condition(LogRow.queue_id, q)
    return Condition(LogRow.reference, q if q.startswith("<") else f"<{q}>")


def _conditions(filters: Filters) -> list[Condition]:
    values = (
        (LogRow.status, filters.status),
        (LogRow.outcome, filters.outcome or None),
        (LogRow.kind, filters.kind or None),
        (LogRow.code, filters.code),
        (LogRow.version, filters.version),
    )
    found = [Condition(column, value) for column, value in values if value is not None]
    paired = [condition for condition in found[1:] if condition.column is not LogRow.outcome]
    if filters.status is Status.FAILED and paired:  # both are columns of one index
        others = [condition for condition in found[1:] if condition not in paired]
        return [replace(condition, failed=True) for condition in paired] + others
    return found


def _days(filters: Filters) -> list[Condition]:
    found = []
    if filters.start is not None:
        found.append(Condition(LogRow.created_at, filters.start, more_than=True))
    if filters.end is not None:
        found.append(Condition(LogRow.created_at, filters.end, less_than=True))
    return found


def _id_range(account_id: int, filters: Filters) -> tuple[int, int | None]:
    """Return the ids between which the messages of the days lie."""
    low = _last_before(account_id, filters.start - _SKEW) if filters.start else None
    high = _first_from(account_id, filters.end + _SKEW) if filters.end else None
    return low or 0, high


def _last_before(account_id: int, moment: datetime) -> int | None:
    query = select(LogRow.message_id).where(LogRow.account_id == account_id, LogRow.created_at < moment)
    return db.session.scalar(query.order_by(LogRow.created_at.desc(), LogRow.message_id.desc()).limit(1))


def _first_from(account_id: int, moment: datetime) -> int | None:
    query = select(LogRow.message_id).where(LogRow.account_id == account_id, LogRow.created_at >= moment)
    return db.session.scalar(query.order_by(LogRow.created_at, LogRow.message_id).limit(1))
