"""Query planner of the log: turns filters into conditions and decides which of them leads, that is, reads its index.

A query without a chosen field is a plan of alternatives, one for each kind of value that it can be (``conditions.py``). Message
ids grow with time, so days become a range of ids, with an hour of margin for transactions that committed later than they
took their id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..db import db
from ..outbox.models import Status
from . import conditions as of_query
from .conditions import Condition
from .filters import Filters, SearchField
from .models import LogRow

if TYPE_CHECKING:
    from collections.abc import Sequence

RARE_ROWS = 500  # a condition that fewer messages meet is rare: its messages can be checked one by one
SORTABLE_ROWS = 5000  # ids that can be sorted for one page
_SKEW = timedelta(hours=1)  # how long a transaction may take from its id to its commit


@dataclass(frozen=True)
class Plan:
    """How filters are answered: ``leading`` is read off an index, ``rest`` is checked on its messages.

    A plan with ``alternatives`` has nothing else: it finds what any of them finds.
    """

    account_id: int
    leading: Sequence[Condition] = ()
    rest: Sequence[Condition] = ()
    days: Sequence[Condition] = ()
    low: int = 0  # every id within the days is higher
    high: int | None = None  # and lower than this
    words: str = ""  # searched in subjects
    max_leading: int = 0  # fewer messages than this meet the leading condition; 0: many do
    is_windowed: bool = False  # no condition is rare, so one page searches only a part of the log
    alternatives: Sequence[Plan] = ()


def make_plan(account_id: int, filters: Filters) -> Plan:
    """Decide how to answer the filters for one account."""
    low, high = _id_range(account_id, filters)
    base = Plan(account_id, days=_days(filters), low=low, high=high)
    others = _conditions(filters)
    if not filters.q:
        return _led(base, others)
    plans = [
        _with_words(base, searched, others) if isinstance(searched, str) else _led(base, [searched, *others])
        for searched in _alternatives(account_id, filters)
    ]
    if len(plans) == 1:
        return plans[0]
    return Plan(account_id, is_windowed=any(plan.is_windowed for plan in plans), alternatives=plans)


def count_matching(account_id: int, condition: Condition, limit: int) -> int:
    """Count the account's messages that meet one condition, up to ``limit``."""
    some = select(LogRow.message_id).where(LogRow.account_id == account_id, condition.indexed())
    return db.session.scalar(select(func.count()).select_from(some.limit(limit).subquery())) or 0


def _led(base: Plan, conditions: list[Condition]) -> Plan:
    leading, rest, max_leading = _choose_leading(base.account_id, conditions, is_dated=bool(base.days))
    is_windowed = bool(rest) and max_leading == 0
    return replace(base, leading=leading, rest=rest, max_leading=max_leading, is_windowed=is_windowed)


def _with_words(base: Plan, words: str, others: list[Condition]) -> Plan:
    return replace(base, words=words, rest=others, is_windowed=bool(others))


def _choose_leading(
    account_id: int, conditions: list[Condition], *, is_dated: bool
) -> tuple[list[Condition], list[Condition], int]:
    """Return the leading condition, the rest, and ``Plan.max_leading``."""
    if len(conditions) < 2 and all(condition.is_sorted for condition in conditions):
        return conditions, [], 0
    limit = RARE_ROWS if len(conditions) > 1 or is_dated else SORTABLE_ROWS
    counted = (
        (count_matching(account_id, condition, limit), n)
        for n, condition in enumerate(conditions)
        if condition.is_indexed
    )
    number, place = min(counted, default=(limit, 0))
    first = conditions[place]
    if number < limit:
        return [first], [condition for condition in conditions if condition is not first], limit
    first = next((condition for condition in conditions if condition.is_sorted), first)
    if not first.is_sorted:  # its index is sorted by mailbox and not by time, so no index leads
        return [], conditions, 0
    return [first], [condition for condition in conditions if condition is not first], 0


def _alternatives(account_id: int, filters: Filters) -> list[Condition | str]:
    """Return what the query can be: conditions, and words of a subject as text."""
    q, by = filters.q, filters.by
    if by is SearchField.SUBJECT:
        return [q]
    if by is SearchField.ID:
        return [of_query.of_ids(q)]
    recipients = of_query.of_recipients(account_id, q)
    if by is SearchField.RECIPIENT:
        return [*recipients]
    return [*recipients, *of_query.of_ids_and_orders(account_id, q), q]


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
