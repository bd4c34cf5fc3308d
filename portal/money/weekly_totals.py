"""Totals of a week, from the ledger entries that its summary names. Money is summed exactly, per currency."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flask_babel import gettext, ngettext
from sqlalchemy import func, select

from ..affiliates.models import Affiliate, AffiliateState
from ..amounts import format_money, from_units
from ..clock import zone_of
from ..db import db
from ..events.types import EVENT_LABELS, EventType
from ..languages import write_day_of_year
from ..outbox.models import OutboxMessage, Status
from ..web.translations import current_language
from .models import Commission, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import Row

_EARNED_TYPES = (
    EventType.PURCHASE,
    EventType.REFUND,
    EventType.COMMISSION_APPROVED,
    EventType.COMMISSION_DECLINED,
)
_JOINED_STATES = (
    AffiliateState.PENDING,
    AffiliateState.ACTIVE,
    AffiliateState.DECLINED,
    AffiliateState.SUSPENDED,
)
_LATE_LINES = 20  # of one summary; further ones are counted


@dataclass
class Totals:
    """What a week brought, by currency: ``earned`` is the commission that is left after refunds and declines.

    ``late`` names the events of earlier weeks whose summaries had left; the other members leave them out.
    """

    leads: int = 0
    purchases: int = 0
    earned: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    paid: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    corrected: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    late: list[str] = field(default_factory=list)
    late_count: int = 0

    @property
    def is_empty(self) -> bool:
        return not (
            self.leads or self.purchases or self.earned or self.paid or self.corrected or self.late_count
        )

    @property
    def values(self) -> dict[str, str]:
        """The template variables that hold these totals."""
        more = self.late_count - len(self.late)
        lines = [*self.late, ngettext("and %(num)s more", "and %(num)s more", more)] if more else self.late
        return {
            "leads": str(self.leads),
            "purchases": str(self.purchases),
            "commission_lines": _lines(self.earned),
            "payout_lines": _lines(self.paid),
            "correction_lines": _lines(self.corrected),
            "late_lines": "\n".join(lines),
        }

    def add(self, entry: Row[Any], week_start: datetime, zone: str) -> None:
        """Add one entry; one of an earlier week is named."""
        amount = from_units(entry.units)
        if entry.type in _EARNED_TYPES and entry.type is not EventType.PURCHASE and not amount:
            return  # such as an approval: it changes no sum
        if entry.occurred_at < week_start:
            self.late_count += 1
            if len(self.late) < _LATE_LINES:
                self.late.append(_late_line(entry, amount, zone))
            return
        if entry.type is EventType.LEAD:
            self.leads += 1
        elif entry.type is EventType.PAYOUT:
            self.paid[entry.currency] += amount
        elif entry.type is EventType.CORRECTION:
            self.corrected[entry.currency] += amount
        else:
            self.purchases += entry.type is EventType.PURCHASE
            self.earned[entry.currency] += amount


def totals_by_affiliate(
    account_id: int, affiliate_ids: Collection[int], week: str, start: datetime, zone: str
) -> Mapping[int, Totals]:
    """Return the totals of each of these affiliates that has any."""
    found: dict[int, Totals] = defaultdict(Totals)
    query = _entries(account_id, week).where(LedgerEntry.affiliate_id.in_(affiliate_ids))
    for entry in db.session.execute(query):
        found[entry.affiliate_id].add(entry, start, zone)
    return found


def account_totals(account_id: int, week: str, start: datetime, zone: str) -> Totals:
    """Return the totals of the whole programme."""
    total = Totals()
    query = _entries(account_id, week, with_names=True).execution_options(yield_per=500)
    for entry in db.session.execute(query):
        total.add(entry, start, zone)
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


def _entries(account_id: int, week: str, *, with_names: bool = False) -> Any:
    columns = (LedgerEntry.affiliate_id, LedgerEntry.type, LedgerEntry.currency, LedgerEntry.units)
    query = (
        select(*columns, LedgerEntry.occurred_at, Commission.order_ref)
        .outerjoin(Commission, Commission.id == LedgerEntry.commission_id)
        .where(LedgerEntry.account_id == account_id, LedgerEntry.week == week)
        .order_by(LedgerEntry.id)
    )
    if not with_names:
        return query
    return query.add_columns(Affiliate.name).join(Affiliate, Affiliate.id == LedgerEntry.affiliate_id)


def _late_line(entry: Row[Any], amount: Decimal, zone: str) -> str:
    """Return a line such as ``9 November: Purchase, order A-1042, 12.00 EUR``."""
    day = entry.occurred_at.astimezone(zone_of(zone))
    language = current_language()
    parts = [str(EVENT_LABELS[entry.type]), getattr(entry, "name", "")]
    parts += [gettext("order %(order)s", order=entry.order_ref) if entry.order_ref else ""]
    parts += [format_money(amount, entry.currency, language.locale) if entry.currency else ""]
    text = ", ".join(part for part in parts if part)
    return f"{write_day_of_year(day.date(), language)}: {text}"


def _lines(amounts: Mapping[str, Decimal]) -> str:
    """Return one line for each currency, such as ``12.50 EUR``."""
    locale = current_language().locale
    return "\n".join(format_money(amount, currency, locale) for currency, amount in sorted(amounts.items()))
