"""How messages are found, with as much work for a million as for a thousand.

Every condition has an index of its own that ends in the message's id, so one condition is read off its index,
newest first. Of several, one that few messages meet leads and the others are looked at in those few. Where
none is rare, one page looks at no more than ``WINDOW`` messages and says how far back it got.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Subquery, column, func, literal_column, select, table

from ..db import db
from .models import DeliveryLine as Line
from .query_plan import Condition, Plan, count_of
from .triggers import FOLD, SUBJECT_INDEX

if TYPE_CHECKING:
    from ..outbox.models import Status

MOST = 1000  # counted exactly; beyond, "more than 1,000"
WINDOW = 1000  # messages one page looks at where no condition is rare
_PAGE = 51  # a page, and one more that tells of the next

_words = table(SUBJECT_INDEX, column("rowid"))
_fold = getattr(func, FOLD)
_simple: Any = literal_column("'simple'")


@dataclass(frozen=True)
class Count:
    """How many; ``more`` says that there are more than that."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"

    def __bool__(self) -> bool:
        return self.more or self.number > 0


@dataclass(frozen=True)
class Found:
    """Ids of a page, newest first. ``seen_to`` is the id to which was looked, if there is more to look at."""

    idents: list[int]
    seen_to: int | None = None


def find(plan: Plan, *, before: int | None = None, after: int | None = None, size: int) -> Found:
    """Return up to ``size`` ids older than ``before``, or those next newer than ``after``, newest first."""
    up = after is not None
    query, key = _candidates(plan)
    query = query.where(key > max(plan.low, after or 0))
    highest = [one for one in (plan.high, None if up else before) if one is not None]
    if highest:
        query = query.where(key < min(highest))
    if plan.words and not plan.windowed and _unsorted():
        return _words_nearby(query, plan.words, up=up, size=size)
    query = query.order_by(key.asc() if up else key.desc())
    if plan.leads and plan.days and not plan.few:
        query, key = _born(query.offset(0).subquery(), plan)
        query = query.order_by(key.asc() if up else key.desc())
    seen = None
    if plan.windowed:
        window = query.limit(WINDOW).subquery()
        query = _those(window, plan).order_by(Line.message_id.asc() if up else Line.message_id.desc())
    idents = list(db.session.scalars(query.limit(size)))
    if plan.windowed and len(idents) < size:
        edge = func.max if up else func.min
        number, last = db.session.execute(select(func.count(), edge(window.c.message_id))).one()
        seen = last if number == WINDOW else None
    return Found(idents[::-1] if up else idents, seen)


def count(plan: Plan) -> Count:
    """Count what matches, up to ``MOST``."""
    return counted(find(plan, size=MOST + 1))


def counted(found: Found) -> Count:
    """Count what was found of at most ``MOST`` and one."""
    number = len(found.idents)
    return Count(min(number, MOST), number > MOST or found.seen_to is not None)


def count_status(account_id: int, status: Status | None) -> Count:
    """Count an account's messages of one status, or all of them, up to ``MOST``."""
    condition = Condition(Line.status, status) if status else Condition(Line.message_id, 0, more_than=True)
    number = count_of(account_id, condition, MOST + 1)
    return Count(min(number, MOST), number > MOST)


def _candidates(plan: Plan) -> tuple[Select[Any], Any]:
    """Return what is read off an index, with the key by which it is sorted."""
    if plan.words and not _unsorted():
        query, key = _with_words(plan)
        return query.where(*() if plan.windowed else [one.aside() for one in plan.rest]), key
    query = select(Line.message_id).where(Line.account_id == plan.account_id)
    query = query.where(*(one.plain() for one in plan.leads))
    if plan.few:  # as they come: their index is not sorted by time
        some = query.limit(plan.few).subquery()
        return (_those(some, plan), Line.message_id) if plan.rest or plan.days else _sorted(some)
    days = () if plan.leads else plan.days  # beside another index they are looked at in what it gives
    return query.where(*(one.plain() for one in days)), Line.message_id


def _born(some: Subquery, plan: Plan) -> tuple[Select[Any], Any]:
    """Of some messages those of the days, each looked up by itself and no more of them than a page takes.

    A database that may choose goes through all messages of those days instead, for it takes every column to be spread
    evenly over time, which versions, notices and replies are not.
    """
    born = select(Line.created_at).where(Line.message_id == some.c.message_id).scalar_subquery()
    within = [replace(one, column=born).plain() for one in plan.days]
    return select(some.c.message_id).where(*within), some.c.message_id


def _sorted(some: Subquery) -> tuple[Select[Any], Any]:
    """All of some messages: nothing more than their ids is looked at."""
    return select(some.c.message_id), some.c.message_id


def _unsorted() -> bool:
    """Whether the index of words knows no order: PostgreSQL's."""
    return db.engine.dialect.name == "postgresql"


def _with_words(plan: Plan) -> tuple[Select[Any], Any]:
    """Messages whose subject has all these words, in the index's own order."""
    days = [one.aside() for one in plan.days]
    query = select(Line.message_id).where(Line.account_id == plan.account_id, *days)
    quoted = " ".join('"{}"'.format(word.replace('"', '""')) for word in plan.words.split())
    match = f"account_id : {plan.account_id} AND subject : ({quoted})"
    query = query.select_from(_words).join(Line, Line.message_id == _words.c.rowid)
    return query.where(literal_column(SUBJECT_INDEX).op("MATCH")(match)), _words.c.rowid


def _words_nearby(lines: Select[Any], words: str, *, up: bool, size: int) -> Found:
    """Of lines those with these words: of the nearest ones a page, where they fill it, else by the index of words.

    PostgreSQL would go through the lines one by one for a word that is frequent on the whole, however far back.
    """

    def first(some: Any, most: int) -> Any:
        return some.order_by(Line.message_id.asc() if up else Line.message_id.desc()).limit(most)

    near = first(lines, WINDOW).subquery()
    here = select(Line.message_id).where(Line.message_id.in_(select(near.c.message_id)), _has(words))
    idents = list(db.session.scalars(first(here, size)))
    enough = len(idents) >= min(size, _PAGE)
    if not enough:
        every = (
            lines.where(_has(words)).offset(0).subquery()
        )  # a fence: what is outside does not choose the way in
        key = every.c.message_id
        idents = list(db.session.scalars(select(key).order_by(key.asc() if up else key.desc()).limit(size)))
    seen = idents[-1] if enough and len(idents) < size else None
    return Found(idents[::-1] if up else idents, seen)


def _has(words: str) -> Any:
    asked = func.plainto_tsquery(_simple, _fold(words))
    return func.to_tsvector(_simple, _fold(Line.subject)).op("@@")(asked)


def _those(some: Subquery, plan: Plan) -> Select[Any]:
    """Of some messages, those that meet everything else."""
    rest = [one.aside() for one in (*plan.rest, *plan.days)]
    if plan.words and _unsorted():
        rest.append(_has(plan.words))
    return select(Line.message_id).where(Line.message_id.in_(select(some.c.message_id)), *rest)
