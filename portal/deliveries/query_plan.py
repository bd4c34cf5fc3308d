"""What the filters mean, and which of them leads: what was typed may be a mailbox, an id or words.

Ids grow with time, so days are turned into ids, with an hour to spare for transactions that took theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from ..db import db
from ..outbox.models import Status
from .filters import By, Filters
from .models import FAILED, NAMED
from .models import DeliveryLine as Line

if TYPE_CHECKING:
    from collections.abc import Sequence

RARE = 500  # so few may be looked at one by one
SORTED = 5000  # so many ids may be sorted
_SKEW = timedelta(hours=1)
_LAST = "\U0010ffff"  # sorts behind every letter


@dataclass(frozen=True)
class Condition:
    """A column and what it has to be: a value, what begins with it, or what is no less (or less) than it.

    With ``failed`` the message has to have failed as well, for which there are indexes of pairs.
    """

    column: Any
    value: Any
    failed: bool = False
    prefix: bool = False
    more_than: bool = False
    less_than: bool = False

    def plain(self) -> ColumnElement[bool]:
        """As an index answers it."""
        known = FAILED if self.failed else NAMED.get(self.column.key)
        return self._over(self.column) if known is None else and_(known, self._over(self.column))

    def aside(self) -> ColumnElement[bool]:
        """As no index answers it, because another condition leads."""
        beside = self._over(func.coalesce(self.column, self.column))
        return (
            and_(func.coalesce(Line.status, Line.status) == Status.FAILED, beside) if self.failed else beside
        )

    def _over(self, column: Any) -> Any:
        if self.prefix:
            return and_(column >= self.value, column < self.value + _LAST)
        if self.more_than:
            return column >= self.value
        return column < self.value if self.less_than else column == self.value


@dataclass(frozen=True)
class Plan:
    """How filters are answered: ``leads`` is read off an index, ``rest`` is looked at in what that gives."""

    account_id: int
    meant: By = By.AUTO  # where the search searched in the end
    leads: Sequence[Condition] = ()
    rest: Sequence[Condition] = ()
    days: Sequence[Condition] = ()
    low: int = 0  # every id within the days is above this
    high: int | None = None  # and below this
    words: str = ""  # searched in subjects
    few: int = 0  # what leads is met by fewer messages than this; 0 if by many
    windowed: bool = False  # nothing is rare, so one page looks at a part only


def plan(account_id: int, filters: Filters) -> Plan:
    """Decide how to answer the filters for one account."""
    meant, searched, words = _meaning(account_id, filters)
    others = _conditions(filters)
    low, high = _ids(account_id, filters)
    days = _days(filters)
    leads, rest, few = _lead(account_id, searched, others, bool(days)) if not words else ([], others, 0)
    return Plan(
        account_id=account_id,
        meant=meant,
        leads=leads,
        rest=rest,
        days=days,
        low=low,
        high=high,
        words=words,
        few=few,
        windowed=bool(rest) and few == 0,
    )


def count_of(account_id: int, condition: Condition, most: int) -> int:
    """Count the account's messages that meet one condition, up to ``most``."""
    some = select(Line.message_id).where(Line.account_id == account_id, condition.plain())
    return db.session.scalar(select(func.count()).select_from(some.limit(most).subquery())) or 0


def _lead(
    account_id: int, searched: list[Condition], others: list[Condition], dated: bool
) -> tuple[list[Condition], list[Condition], int]:
    """Return the condition that leads, the rest, and fewer than how many messages meet the first."""
    every = searched + others
    if len(every) < 2 and not (every and every[0].prefix):
        return every, [], 0
    most = RARE if len(every) > 1 or dated else SORTED
    number, place = min((count_of(account_id, one, most), n) for n, one in enumerate(every))
    first = every[place]
    if number < most:
        return [first], [one for one in every if one is not first], most
    first = next((one for one in every if not one.prefix), first)
    if first.prefix:  # its index is sorted by mailbox, so all messages are gone through by time
        return [], every, 0
    return [first], [one for one in every if one is not first], 0


def _meaning(account_id: int, filters: Filters) -> tuple[By, list[Condition], str]:
    """Read what was typed: where it is searched, by which condition, or by which words."""
    q, by = filters.q, filters.by
    if not q:
        return By.AUTO, [], ""
    if by is By.SUBJECT:
        return By.SUBJECT, [], q
    if by is By.IDENT:
        return By.IDENT, [_ident(q)], ""
    if by is By.RECIPIENT:
        return By.RECIPIENT, [_recipient(q)], ""
    return _guess(account_id, q)


def _guess(account_id: int, q: str) -> tuple[By, list[Condition], str]:
    """Nobody said what it is: an id if there is such a one, else a recipient, else words."""
    if " " not in q and not q.startswith("@") and count_of(account_id, _ident(q), 1):
        return By.IDENT, [_ident(q)], ""
    if q.startswith("<"):
        return By.IDENT, [_ident(q)], ""
    if "@" in q or (" " not in q and count_of(account_id, _recipient(q), 1)):
        return By.RECIPIENT, [_recipient(q)], ""
    return By.SUBJECT, [], q


def _recipient(q: str) -> Condition:
    """A domain after an @, a whole mailbox, or the beginning of one."""
    q = q.lower()
    if q.startswith("@"):
        return Condition(Line.domain, q[1:])
    local, at, domain = q.rpartition("@")
    whole = local and at and "." in domain and domain.rpartition(".")[2]
    return Condition(Line.recipient, q, prefix=not whole)


def _ident(q: str) -> Condition:
    """A Message-ID, with its brackets or without, or a queue id."""
    if "@" not in q and not q.startswith("<"):
        return Condition(Line.queue_id, q)
    return Condition(Line.reference, q if q.startswith("<") else f"<{q}>")


def _conditions(filters: Filters) -> list[Condition]:
    asked = (
        (Line.status, filters.status),
        (Line.kind, filters.kind or None),
        (Line.code, filters.code),
        (Line.version, filters.version),
    )
    found = [Condition(column, value) for column, value in asked if value is not None]
    if filters.status is Status.FAILED and len(found) > 1:  # read off an index of the pair
        return [replace(one, failed=True) for one in found[1:]]
    return found


def _days(filters: Filters) -> list[Condition]:
    found = []
    if filters.start is not None:
        found.append(Condition(Line.created_at, filters.start, more_than=True))
    if filters.end is not None:
        found.append(Condition(Line.created_at, filters.end, less_than=True))
    return found


def _ids(account_id: int, filters: Filters) -> tuple[int, int | None]:
    """Return the ids between which the days lie."""
    low = _last_before(account_id, filters.start - _SKEW) if filters.start else None
    high = _first_from(account_id, filters.end + _SKEW) if filters.end else None
    return low or 0, high


def _last_before(account_id: int, moment: datetime) -> int | None:
    query = select(Line.message_id).where(Line.account_id == account_id, Line.created_at < moment)
    return db.session.scalar(query.order_by(Line.created_at.desc(), Line.message_id.desc()).limit(1))


def _first_from(account_id: int, moment: datetime) -> int | None:
    query = select(Line.message_id).where(Line.account_id == account_id, Line.created_at >= moment)
    return db.session.scalar(query.order_by(Line.created_at, Line.message_id).limit(1))
