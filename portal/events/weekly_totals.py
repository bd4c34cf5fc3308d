"""What a week came to, counted from its events. Money is added up exactly, currency by currency."""

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
from .types import Occasion, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

_COUNTED = (Occasion.LEAD, Occasion.PURCHASE)
_JOINED = (AffiliateState.PENDING, AffiliateState.ACTIVE, AffiliateState.DECLINED, AffiliateState.SUSPENDED)
_DIGITS = 40  # more than any sum of money has; what is longer is no amount


@dataclass
class Counters:
    """Leads, purchases and the commission on those purchases. What the owner only tried out is not counted."""

    leads: int = 0
    purchases: int = 0
    commissions: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    @property
    def nothing(self) -> bool:
        return not self.leads and not self.purchases

    @property
    def commission_lines(self) -> str:
        """One line a currency, such as ``12.50 EUR``."""
        return "\n".join(f"{amount:f} {currency}" for currency, amount in sorted(self.commissions.items()))

    def add(self, occasion: Occasion, values: Mapping[str, object]) -> None:
        if occasion is Occasion.LEAD:
            self.leads += 1
            return
        self.purchases += 1
        amount, currency = decimal(values.get("commission")), str(values.get("currency", ""))
        if amount is not None and currency:
            self.commissions[currency] += amount


def decimal(text: object) -> Decimal | None:
    """Return an amount as it was told, or None for what is none."""
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and len(str(text)) <= _DIGITS else None


def of_affiliates(
    account_id: int, idents: Collection[int], start: datetime, end: datetime
) -> Mapping[int, Counters]:
    """Count for each of these affiliates."""
    found: dict[int, Counters] = defaultdict(Counters)
    query = _events(account_id, start, end).where(Event.affiliate_id.in_(idents))
    for affiliate_id, occasion, values in db.session.execute(query):
        found[affiliate_id].add(occasion, values)
    return found


def of_account(account_id: int, start: datetime, end: datetime) -> Counters:
    """Count for the whole programme."""
    total = Counters()
    for _, occasion, values in db.session.execute(
        _events(account_id, start, end).execution_options(yield_per=500)
    ):
        total.add(occasion, values)
    return total


def totals(events: Iterable[tuple[Occasion, Mapping[str, object]]]) -> Counters:
    """Count events at hand."""
    total = Counters()
    for occasion, values in events:
        if occasion in _COUNTED:
            total.add(occasion, values)
    return total


def newcomers(account_id: int, start: datetime, end: datetime) -> int:
    """Return how many affiliates signed up, those aside who did not confirm or were only invited."""
    query = select(func.count()).where(
        Affiliate.account_id == account_id,
        Affiliate.created_at >= start,
        Affiliate.created_at < end,
        Affiliate.state.in_(_JOINED),
    )
    return db.session.scalar(query) or 0


def settled(account_id: int, status: Status, start: datetime, end: datetime) -> int:
    """Return how many emails came to this end."""
    query = select(func.count()).where(
        OutboxMessage.account_id == account_id,
        OutboxMessage.status == status,
        OutboxMessage.settled_at >= start,
        OutboxMessage.settled_at < end,
    )
    return db.session.scalar(query) or 0


def _events(account_id: int, start: datetime, end: datetime) -> Select[Any]:
    return select(Event.affiliate_id, Event.type, Event.values).where(
        Event.account_id == account_id,
        Event.type.in_(_COUNTED),
        Event.created_at >= start,
        Event.created_at < end,
        Event.source != Source.PLAYED,
    )
