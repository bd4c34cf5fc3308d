"""Balances per currency: what waits for approval, what is approved and not paid yet, and what was paid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, case, cast, func, select

from ..amounts import format_money, from_units
from ..db import db
from ..events.types import EventType
from ..web.translations import current_language
from .models import IS_LISTED, IS_PAYMENT, IS_REFUNDED, Commission, CommissionState, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement

_HALF = 10**9  # units; the halves of amounts are summed apart, because a sum of whole ones may exceed 64 bits
_OPEN = (CommissionState.PENDING, CommissionState.APPROVED)


@dataclass(frozen=True)
class Balance:
    """The money of one currency. ``approved`` holds corrections, and is below zero after a refund of what was paid."""

    currency: str
    pending: Decimal = Decimal()
    approved: Decimal = Decimal()
    paid: Decimal = Decimal()

    @property
    def earned(self) -> Decimal:
        """What is left after refunds and declines, with corrections, whether it was paid or not."""
        return self.pending + self.approved + self.paid

    def written(self, name: str) -> str:
        """Return one of the amounts for people."""
        return format_money(getattr(self, name), self.currency, current_language().locale)


@dataclass(frozen=True)
class MoneyOverview:
    """The balances of a whole programme, by currency, and how many commissions the list of each state has."""

    balances: list[Balance]
    counts: Mapping[CommissionState, int]


def balances_of(affiliate_id: int) -> list[Balance]:
    """Return an affiliate's balances, by currency."""
    found = _load(Commission.affiliate_id == affiliate_id, LedgerEntry.affiliate_id == affiliate_id)
    return found.get(affiliate_id, [])


def overview(account_id: int) -> MoneyOverview:
    """Return the sums of the whole programme. Two statements, which read nothing but an index each."""
    listed = cast(IS_LISTED, Integer)
    refunded = case((IS_REFUNDED, 1), else_=0)
    query = (
        select(
            Commission.state,
            Commission.currency,
            func.sum(listed),
            func.sum(refunded),
            *_halves(Commission.remaining),
        )
        .where(Commission.account_id == account_id)
        .group_by(Commission.state, Commission.currency)
    )
    counts: dict[CommissionState, int] = defaultdict(int)
    sums = _Sums()
    for state, currency, count, refunded_count, high, low in db.session.execute(query):
        is_open = state in _OPEN
        moved = refunded_count if is_open else 0  # refunded ones are with the declined
        counts[state] += count - moved
        counts[CommissionState.DECLINED] += moved
        if is_open:
            sums.add(0, currency, state.value, _amount(high, low))
    sums.add_payments(LedgerEntry.account_id == account_id, whole=True)
    found = {state: count for state, count in counts.items() if count}
    return MoneyOverview(sums.balances().get(0, []), found)


def balances_by_affiliate(account_id: int, affiliate_ids: list[int]) -> Mapping[int, list[Balance]]:
    """Return the balances of each of these affiliates that has any."""
    return _load(
        (Commission.account_id == account_id) & Commission.affiliate_id.in_(affiliate_ids),
        (LedgerEntry.account_id == account_id) & LedgerEntry.affiliate_id.in_(affiliate_ids),
    )


def _load(commissions: ColumnElement[bool], entries: ColumnElement[bool]) -> dict[int, list[Balance]]:
    columns = (Commission.affiliate_id, Commission.currency, Commission.state)
    query = select(*columns, *_halves(Commission.remaining)).where(commissions, Commission.state.in_(_OPEN))
    sums = _Sums()
    for who, currency, state, high, low in db.session.execute(query.group_by(*columns)):
        sums.add(who, currency, state.value, _amount(high, low))
    sums.add_payments(entries)
    return sums.balances()


class _Sums:
    """Amounts by affiliate (0 for the whole programme), currency and part of the balance."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def add(self, who: int, currency: str, part: str, amount: Decimal) -> None:
        self._parts[who, currency][part] += amount

    def add_payments(self, entries: ColumnElement[bool], *, whole: bool = False) -> None:
        """Add the payouts and corrections among these entries."""
        who_columns = [] if whole else [LedgerEntry.affiliate_id]
        columns = (*who_columns, LedgerEntry.currency, LedgerEntry.type)
        query = select(*columns, *_halves(LedgerEntry.units)).where(entries, IS_PAYMENT)
        for *who, currency, type_, high, low in db.session.execute(query.group_by(*columns)):
            affiliate_id, amount = who[0] if who else 0, _amount(high, low)
            is_payout = type_ is EventType.PAYOUT
            self.add(affiliate_id, currency, "approved", -amount if is_payout else amount)
            if is_payout:
                self.add(affiliate_id, currency, "paid", amount)

    def balances(self) -> dict[int, list[Balance]]:
        """Return the balances of each affiliate, by currency."""
        found: dict[int, list[Balance]] = defaultdict(list)
        for (who, currency), parts in sorted(self._parts.items()):
            found[who].append(Balance(currency, **parts))
        return found


def _halves(column: Any) -> tuple[Any, Any]:
    return func.sum(column.op("/")(_HALF)), func.sum(column % _HALF)


def _amount(high: int, low: int) -> Decimal:
    """Return the exact sum of amounts whose halves were summed."""
    return from_units(int(high) * _HALF + int(low))
