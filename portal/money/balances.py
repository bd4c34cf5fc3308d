"""Balances per currency: what waits for approval, what is approved and not paid yet, and what was paid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ..amounts import format_money, from_units
from ..db import db
from ..events.types import EventType
from .models import Commission, CommissionState, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import ColumnElement

_HALF = 10**9  # units; the halves of amounts are summed apart, because a sum of whole ones may exceed 64 bits
_PAYMENTS = (EventType.PAYOUT, EventType.CORRECTION)
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
        return format_money(getattr(self, name), self.currency)


def balances_of(affiliate_id: int) -> list[Balance]:
    """Return an affiliate's balances, by currency."""
    found = _load(Commission.affiliate_id == affiliate_id, LedgerEntry.affiliate_id == affiliate_id)
    return found.get(affiliate_id, [])


def account_balances(account_id: int) -> list[Balance]:
    """Return the balances of the whole programme, by currency."""
    of_commissions, of_entries = Commission.account_id == account_id, LedgerEntry.account_id == account_id
    return _load(of_commissions, of_entries, whole=True).get(0, [])


def balances_by_affiliate(account_id: int, affiliate_ids: list[int]) -> Mapping[int, list[Balance]]:
    """Return the balances of each of these affiliates that has any."""
    return _load(
        (Commission.account_id == account_id) & Commission.affiliate_id.in_(affiliate_ids),
        (LedgerEntry.account_id == account_id) & LedgerEntry.affiliate_id.in_(affiliate_ids),
    )


def _load(
    commissions: ColumnElement[bool], entries: ColumnElement[bool], *, whole: bool = False
) -> dict[int, list[Balance]]:
    sums: dict[tuple[int, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for who, currency, state, amount in _sums(
        Commission,
        Commission.state,
        Commission.remaining,
        commissions & Commission.state.in_(_OPEN),
        whole=whole,
    ):
        sums[who, currency][state.value] += amount
    for who, currency, type_, amount in _sums(
        LedgerEntry,
        LedgerEntry.type,
        LedgerEntry.units,
        entries & LedgerEntry.type.in_(_PAYMENTS),
        whole=whole,
    ):
        is_payout = type_ is EventType.PAYOUT
        sums[who, currency]["approved"] += -amount if is_payout else amount
        if is_payout:
            sums[who, currency]["paid"] += amount
    found: dict[int, list[Balance]] = defaultdict(list)
    for (who, currency), parts in sorted(sums.items()):
        found[who].append(Balance(currency, **parts))
    return found


def _sums(
    table: type[Commission | LedgerEntry],
    by: Any,
    column: Any,
    condition: ColumnElement[bool],
    *,
    whole: bool,
) -> Iterator[tuple[int, str, Any, Decimal]]:
    """Yield affiliate (0 for the whole programme), currency, ``by`` and the exact sum of ``column``."""
    who = [] if whole else [table.affiliate_id]
    halves = (func.sum(column.op("/")(_HALF)), func.sum(column % _HALF))
    query = select(*who, table.currency, by, *halves).where(condition).group_by(*who, table.currency, by)
    for row in db.session.execute(query):
        *keys, high, low = row
        amount = from_units(int(high) * _HALF + int(low))
        yield (0 if whole else keys[0]), keys[-2], keys[-1], amount
