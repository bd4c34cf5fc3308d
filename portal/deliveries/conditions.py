"""Conditions of messages in the log, and what a query can mean: an id, a recipient, a name, an order number.

A part of an address or a name is looked up among the affiliates, whose number bounds the cost, and their mailboxes are looked
up in the log. Other recipients are found by the beginning of their address or by its domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select, union

from ..affiliates import directory
from ..affiliates.models import Affiliate
from ..affiliates.search_text import fold_query
from ..db import db
from ..events.models import EventMail
from ..money.listing import spellings
from ..money.models import Commission, LedgerEntry
from ..outbox.models import Status
from ..smtp.network.guard import HostError, canonical_host
from .models import FAILED, NOT_EMPTY, LogRow

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_AFFILIATES = (
    200  # whose mailboxes are looked up; where more match, the newest messages are checked one by one
)
# In a programme with more, parts of addresses are not searched among affiliates: an index finds the beginning and the domain.
_MANY_AFFILIATES = 10_000
_MAX_OF_ORDER = 500  # emails about one order
_HIGHEST_CHARACTER = "\U0010ffff"  # sorts after every other character


@dataclass(frozen=True)
class Condition:
    """A column and its value: equal, one of several, a prefix, a lower bound (inclusive) or an upper bound (exclusive).

    With ``failed`` the message must also have failed; there are indexes of such pairs.
    """

    column: Any
    value: Any
    failed: bool = False
    prefix: bool = False
    among: bool = False  # the value is a list
    more_than: bool = False
    less_than: bool = False

    @property
    def is_sorted(self) -> bool:
        """Whether the index has the messages that meet it in the order of time."""
        return not (self.prefix or self.among)

    @property
    def is_indexed(self) -> bool:
        """Whether an index finds the messages that meet it."""
        return True

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
        if self.among:
            return column.in_(self.value)
        if self.more_than:
            return column >= self.value
        return column < self.value if self.less_than else column == self.value


@dataclass(frozen=True)
class OfAffiliates(Condition):
    """The recipient is an affiliate whose name, address, code or id has a text. For many affiliates: no index leads to it.

    ``value`` is the condition of an affiliate.
    """

    @property
    def is_sorted(self) -> bool:
        return False

    @property
    def is_indexed(self) -> bool:
        return False

    def unindexed(self) -> ColumnElement[bool]:
        """Look each message's affiliate up; a scalar subquery keeps PostgreSQL from searching all affiliates first."""
        recipient: ColumnElement[str] = LogRow.recipient.expression
        if db.engine.dialect.name == "postgresql":  # compared as the index of affiliates is sorted
            recipient = recipient.collate("default")
        own = (Affiliate.account_id == LogRow.account_id, Affiliate.mailbox_key == recipient)
        found: ColumnElement[bool] = select(self.value).where(*own).correlate(LogRow).scalar_subquery()
        return found


def of_ids(q: str) -> Condition:
    """Return the condition for a Message-ID, with or without brackets, or a queue id."""
    if "@" not in q and not q.startswith("<"):
        return Condition(LogRow.queue_id, q)
    return Condition(LogRow.reference, q if q.startswith("<") else f"<{q}>")


def of_recipients(account_id: int, q: str) -> Iterator[Condition]:
    """Yield the conditions for a domain, an address or the start of one, and any part of an affiliate's."""
    typed = q.strip("<> ").lower() or q
    local, at, domain = typed.rpartition("@")
    domain = _in_a_labels(domain)
    if at and not local:
        yield Condition(LogRow.domain, domain)
    else:
        is_whole = at and "." in domain and domain.rpartition(".")[2]
        yield Condition(LogRow.recipient, f"{local}{at}{domain}", prefix=not is_whole)
    found = _of_affiliates(account_id, typed)
    if found is not None:
        yield found
    if not at and "." in domain and " " not in domain:
        yield Condition(LogRow.domain, domain)


def of_ids_and_orders(account_id: int, q: str) -> Iterator[Condition]:
    """Yield the conditions for an id, and for the emails about an order."""
    if " " in q:
        return
    yield of_ids(q)
    orders = (Commission.account_id == account_id, Commission.order_ref.in_(spellings(q)))
    changes = select(LedgerEntry.event_id).join(Commission, Commission.id == LedgerEntry.commission_id)
    events: Any = union(select(Commission.event_id).where(*orders), changes.where(*orders))
    emails = select(EventMail.message_id).where(
        EventMail.event_id.in_(events), EventMail.message_id.is_not(None)
    )
    message_ids = db.session.scalars(emails.limit(_MAX_OF_ORDER)).all()
    if message_ids:
        yield Condition(LogRow.message_id, message_ids, among=True)


def _of_affiliates(account_id: int, typed: str) -> Condition | None:
    """Return the condition that the recipient is an affiliate whom the text finds, or None where it finds none.

    It reads the texts of all affiliates of the account, which no index answers; for an address, not of ``_MANY_AFFILIATES``.
    """
    if not fold_query(typed) or ("@" in typed and _has_many_affiliates(account_id)):
        return None
    matches = directory.matches(typed)
    query = select(Affiliate.mailbox_key).where(Affiliate.account_id == account_id, matches)
    mailboxes = db.session.scalars(query.limit(_MAX_AFFILIATES + 1)).all()
    if len(mailboxes) > _MAX_AFFILIATES:
        return OfAffiliates(LogRow.recipient, matches)
    return Condition(LogRow.recipient, mailboxes, among=True) if mailboxes else None


def _has_many_affiliates(account_id: int) -> bool:
    own = select(Affiliate.id).where(Affiliate.account_id == account_id).order_by(Affiliate.id)
    return db.session.scalar(own.offset(_MANY_AFFILIATES).limit(1)) is not None


def _in_a_labels(domain: str) -> str:
    """Return an internationalized domain as envelopes write it, and any other text as it is."""
    if domain.isascii():
        return domain
    try:
        return canonical_host(domain)
    except HostError:
        return domain
