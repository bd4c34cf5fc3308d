"""Searching the log at a cost that does not grow with the number of messages.

Every condition has an index that ends in the message id, so a single condition is read off its index, newest first. Of
several conditions, one that few messages meet leads, and the others are checked on those. Where none is rare, a page
searches only ``WINDOW_ROWS`` messages and reports how far back it got.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    Select,
    Subquery,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    null,
    select,
    table,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from ..db import db
from ..db.prepared import PreparedStatement, bind_ids, ids_in
from ..db.transaction import current_connection, current_dialect
from ..outbox.models import Status
from ..web.pagination import Count, capped
from .conditions import Condition
from .models import LogRow
from .triggers import ACCOUNT_WORD, FOLD, INDEXED_WORDS, NOT_BEING_SENT, SUBJECT_INDEX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .query_plan import Plan

MAX_COUNT = 1000  # counted exactly; more is "more than 1,000"
WINDOW_ROWS = 1000  # messages that one page searches where no condition is rare
_PAGE = 51  # a page, and one more row that shows whether there is another page

_words = table(SUBJECT_INDEX, column("rowid"))
_fold = getattr(func, FOLD)
_simple: Any = literal_column("'simple'")


@dataclass(frozen=True)
class Found:
    """The ids of a page, newest first. ``seen_to`` is the id where a windowed search ended, if there is more to search."""

    message_ids: list[int]
    seen_to: int | None = None


def find(plan: Plan, *, before: int | None = None, after: int | None = None, size: int) -> Found:
    """Return up to ``size`` ids older than ``before``, or the next newer than ``after``, newest first."""
    if plan.alternatives:
        found = [find(one, before=before, after=after, size=size) for one in plan.alternatives]
        return _merge(found, up=after is not None, size=size)
    up = after is not None
    query, key = _candidates(plan)
    bounds = [key > max(plan.low, after or 0)]
    upper = [bound for bound in (plan.high, None if up else before) if bound is not None]
    if upper:
        bounds.append(key < min(upper))
    query = query.where(*bounds)
    if plan.words and not plan.is_windowed and _is_word_index_unordered():
        indexed = select(LogRow.message_id).where(*bounds, *_has_indexed_words(plan))
        return _search_words_nearby(query, indexed, plan.words, up=up, size=size)
    query = query.order_by(key.asc() if up else key.desc())
    if plan.leading and plan.days and not plan.max_leading:
        query, key = _within_days(query.offset(0).subquery(), plan)
        query = query.order_by(key.asc() if up else key.desc())
    seen = None
    if plan.is_windowed:
        window = query.limit(WINDOW_ROWS).subquery()
        query = _matching(window, plan).order_by(LogRow.message_id.asc() if up else LogRow.message_id.desc())
    message_ids = _ids(query.limit(size))
    if plan.is_windowed and len(message_ids) < size:
        edge = func.max if up else func.min
        number, last = db.session.execute(select(func.count(), edge(window.c.message_id))).one()
        seen = last if number == WINDOW_ROWS else None
    return Found(message_ids[::-1] if up else message_ids, seen)


def _ids(query: Select[Any]) -> list[int]:
    """Return the ids that a query finds, as many as 1,001. The session would do more for each row."""
    return list(current_connection().execute(query).scalars().all())


def _merge(found: Sequence[Found], *, up: bool, size: int) -> Found:
    """Return what any search found, as far as all of them got."""
    message_ids = {message_id for one in found for message_id in one.message_ids}
    edges = [one.seen_to for one in found if one.seen_to is not None]
    edge = (min(edges) if up else max(edges)) if edges else None
    if edge is not None:
        message_ids = {one for one in message_ids if (one <= edge if up else one >= edge)}
    merged = sorted(message_ids, reverse=not up)[:size]
    return Found(merged[::-1] if up else merged, edge if len(merged) < size else None)


def count(plan: Plan) -> Count:
    """Count the matching messages, up to ``MAX_COUNT``."""
    return counted(find(plan, size=MAX_COUNT + 1))


def counted(found: Found) -> Count:
    """Return the count of what ``find`` returned for a size of ``MAX_COUNT + 1``."""
    number = len(found.message_ids)
    return Count(min(number, MAX_COUNT), number > MAX_COUNT or found.seen_to is not None)


def count_by_status(found: Found) -> Mapping[Status, Count]:
    """Count the messages by status of what ``find`` returned for a size of ``MAX_COUNT + 1``."""
    dialect, more = current_dialect(), counted(found).more
    rows = _status_counts_of(dialect).all(ids=bind_ids(found.message_ids, dialect))
    return {status: Count(number, more) for status, number in rows}


@cache
def _status_counts_of(dialect: str) -> PreparedStatement:
    query = select(LogRow.status, func.count()).where(ids_in(LogRow.message_id, "ids", dialect))
    return PreparedStatement(query.group_by(LogRow.status))


def count_status(account_id: int, status: Status | None) -> Count:
    """Count an account's messages with one status, or all of them, up to ``MAX_COUNT``."""
    return count_statuses(account_id, (status,))[status]


def count_statuses(account_id: int, statuses: tuple[Status | None, ...]) -> Mapping[Status | None, Count]:
    """Count an account's messages with each status, and all of them for None, up to ``MAX_COUNT``, by one statement."""
    numbers: dict[int, int] = dict(_status_counts(statuses).all(account=account_id, limit=MAX_COUNT + 1))
    return {status: capped(numbers[place], MAX_COUNT) for place, status in enumerate(statuses)}


@lru_cache(maxsize=16)
def _status_counts(statuses: tuple[Status | None, ...]) -> PreparedStatement:
    """Return the statement for some statuses; each page of the log runs it, and building it takes longest."""
    counts: list[Any] = []
    for place, status in enumerate(statuses):
        condition = (
            Condition(LogRow.status, status) if status else Condition(LogRow.message_id, 0, more_than=True)
        )
        some = select(LogRow.message_id).where(LogRow.account_id == bindparam("account"), condition.indexed())
        some_rows = some.limit(bindparam("limit", type_=Integer())).subquery()
        counts.append(select(literal_column(str(place)), func.count()).select_from(some_rows))
    return PreparedStatement(union_all(*counts))


def _candidates(plan: Plan) -> tuple[Select[Any], Any]:
    """Return the query that an index answers, and the key by which it is sorted."""
    if plan.words and not _is_word_index_unordered():
        query, key = _with_words(plan)
        return query.where(
            *() if plan.is_windowed else [condition.unindexed() for condition in plan.rest]
        ), key
    query = select(LogRow.message_id).where(LogRow.account_id == plan.account_id)
    query = query.where(*(condition.indexed() for condition in plan.leading))
    if plan.max_leading:  # few enough to be read unsorted: the index may not be sorted by time
        some = query.limit(plan.max_leading).subquery()
        return (_matching(some, plan), LogRow.message_id) if plan.rest or plan.days else _all_of(some)
    # Where another index leads, the days are checked on its rows. Alone they are checked within their ids, newest first: by
    # the index of times, PostgreSQL would read all of a day and sort it.
    days = () if plan.leading else plan.days
    return query.where(*(condition.unindexed() for condition in days)), LogRow.message_id


def _within_days(some: Subquery, plan: Plan) -> tuple[Select[Any], Any]:
    """Return those of some messages that were created within the days, each looked up by its id.

    The database's planner would scan all messages of those days, because it assumes that every column is spread
    evenly over time; versions, notices and replies are not.
    """
    created_at = select(LogRow.created_at).where(LogRow.message_id == some.c.message_id).scalar_subquery()
    within = [replace(condition, column=created_at).indexed() for condition in plan.days]
    return select(some.c.message_id).where(*within), some.c.message_id


def _all_of(some: Subquery) -> tuple[Select[Any], Any]:
    """Return all of some messages, by id only."""
    return select(some.c.message_id), some.c.message_id


def _is_word_index_unordered() -> bool:
    """Whether the index of words has no order by id, as in PostgreSQL."""
    return db.engine.dialect.name == "postgresql"


def _with_words(plan: Plan) -> tuple[Select[Any], Any]:
    """Return the messages whose subject has all these words, in the order of the index (SQLite)."""
    days = [condition.unindexed() for condition in plan.days]
    query = select(LogRow.message_id).where(LogRow.account_id == plan.account_id, *days)
    quoted = " ".join('"{}"'.format(word.replace('"', '""')) for word in plan.words.split())
    match = f"account_id : {plan.account_id} AND subject : ({quoted})"
    query = query.select_from(_words).join(LogRow, LogRow.message_id == _words.c.rowid)
    return query.where(literal_column(SUBJECT_INDEX).op("MATCH")(match)), _words.c.rowid


def _search_words_nearby(
    rows: Select[Any], indexed: Select[Any], words: str, *, up: bool, size: int
) -> Found:
    """Search words among the newest rows first, and by the index of words only if these do not fill a page (PostgreSQL).

    The planner would otherwise check row after row for a word that is frequent on the whole, however far back it occurs.
    """

    def first(some: Any, limit: int) -> Any:
        return some.order_by(LogRow.message_id.asc() if up else LogRow.message_id.desc()).limit(limit)

    near = first(rows, WINDOW_ROWS).subquery()
    here = select(LogRow.message_id).where(
        LogRow.message_id.in_(select(near.c.message_id)), _has_words(words)
    )
    message_ids = _ids(first(here, size))
    enough = len(message_ids) >= min(size, _PAGE)
    if not enough:
        # OFFSET 0 is an optimisation fence: the outer ORDER BY must not choose the index of the inner query.
        in_index = indexed.where(text(NOT_BEING_SENT)).offset(0).subquery()
        being_sent = rows.where(LogRow.status == Status.SENDING, _has_words(words)).offset(0).subquery()
        every = union_all(select(in_index.c.message_id), select(being_sent.c.message_id)).subquery()
        key = every.c.message_id
        message_ids = _ids(select(key).order_by(key.asc() if up else key.desc()).limit(size))
    seen = message_ids[-1] if enough and len(message_ids) < size else None
    return Found(message_ids[::-1] if up else message_ids, seen)


def _has_words(words: str) -> Any:
    return func.to_tsvector(_simple, _fold(LogRow.subject)).op("@@")(_query_of(words))


def _query_of(words: str) -> Any:
    return func.plainto_tsquery(_simple, _fold(words))


def _has_indexed_words(plan: Plan) -> list[Any]:
    """Return the conditions that the index of words answers for one account alone; a text without words never meets them.

    The account is not compared as well, or the planner would read all of its messages from another index, to intersect both.
    """
    query, account = _query_of(plan.words), cast(f"'{ACCOUNT_WORD}{plan.account_id}'", TSQUERY)
    both = case((func.numnode(query) > 0, query.op("&&")(account)), else_=cast(null(), TSQUERY))
    days = [condition.unindexed() for condition in plan.days]
    return [literal_column(f"({INDEXED_WORDS})").op("@@")(both), *days]


def _matching(some: Subquery, plan: Plan) -> Select[Any]:
    """Return those of some messages that meet all other conditions."""
    rest = [condition.unindexed() for condition in (*plan.rest, *plan.days)]
    if plan.words and _is_word_index_unordered():
        rest.append(_has_words(plan.words))
    return select(LogRow.message_id).where(LogRow.message_id.in_(select(some.c.message_id)), *rest)
