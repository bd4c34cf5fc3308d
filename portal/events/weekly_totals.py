"""Totals of a week, counted from its events. Money is summed exactly, per currency."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select

from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..outbox.models import OutboxMessage, Status
from .models import Event
from .types import EventType, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

_COUNTED_TYPES = (EventType.LEAD, EventType.PURCHASE)
_JOINED_STATES = (
    AffiliateState.PENDING,
    AffiliateState.ACTIVE,
    AffiliateState.DECLINED,
    AffiliateState.SUSPENDED,
)
_MAX_AMOUNT_CHARS = 40  # longer than any sum of money


@dataclass
class Totals:
    """Leads, purchases, and the commission on those purchases by currency."""

    leads: int = 0
    purchases: int = 0
    commissions: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    @property
    def is_empty(self) -> bool:
        return not self.leads and not self.purchases

    @property
    def commission_lines(self) -> str:
        """One line for each currency, such as ``12.50 EUR``."""
        return "\n".join(f"{amount:f} {currency}" for currency, amount in sorted(self.commissions.items()))

    def add(self, type_: EventType, values: Mapping[str, object]) -> None:
        """Count one lead or purchase."""
        if type_ is EventType.LEAD:
            self.leads += 1
            return
        self.purchases += 1
        amount, currency = parse_amount(values.get("commission")), str(values.get("currency", ""))
        if amount is not None and currency:
            self.commissions[currency] += amount


def parse_amount(text: object) -> Decimal | None:
    """Return an amount of money, or None if the text is not one."""
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and len(str(text)) <= _MAX_AMOUNT_CHARS else None


def totals_by_affiliate(
    account_id: int, affiliate_ids: Collection[int], start: datetime, end: datetime
) -> Mapping[int, Totals]:
    """Return the totals of each of these affiliates that has any."""
    found: dict[int, Totals] = defaultdict(Totals)
    query = _counted_events(account_id, start, end).where(Event.affiliate_id.in_(affiliate_ids))
    for affiliate_id, type_, values in db.session.execute(query):
        found[affiliate_id].add(type_, values)
    return found


def account_totals(account_id: int, start: datetime, end: datetime) -> Totals:
    """Return the totals of the whole programme."""
    total = Totals()
    query = _counted_events(account_id, start, end).execution_options(yield_per=500)
    for _, type_, values in db.session.execute(query):
        total.add(type_, values)
    return total


def sum_events(events: Iterable[tuple[EventType, Mapping[str, object]]]) -> Totals:
    """Return the totals of events that were loaded already."""
    total = Totals()
    for type_, values in events:
        if type_ in _COUNTED_TYPES:
            total.add(type_, values)
    return total


def count_new_affiliates(account_id: int, start: datetime, end: datetime) -> int:
    """Return how many affiliates joined, without unconfirmed and merely invited ones."""
    query = select(func.count()).where(
        Affiliate.account_id == account_id,
        Affiliate.created_at >= start,
        Affiliate.created_at < end,
        Affiliate.state.in_(_JOINED_STATES),
    )
    return db.session.scalar(query) or 0


def count_settled_emails(account_id: int, status: Status, start: datetime, end: datetime) -> int:
    """Return how many automated emails were settled with this status, without tests and checks of the settings."""
    query = select(func.count()).where(
        OutboxMessage.account_id == account_id,
        OutboxMessage.status == status,
        ~OutboxMessage.is_test,
        OutboxMessage.forced_version_id.is_(None),
        OutboxMessage.settled_at >= start,
        OutboxMessage.settled_at < end,
    )
    return db.session.scalar(query) or 0


def _counted_events(account_id: int, start: datetime, end: datetime) -> Select[Any]:
    """Return the query for leads and purchases. Events that the owner simulated are not counted."""
    return select(Event.affiliate_id, Event.type, Event.values).where(
        Event.account_id == account_id,
        Event.type.in_(_COUNTED_TYPES),
        Event.created_at >= start,
        Event.created_at < end,
        Event.source != Source.SIMULATED,
    )
