"""Ties the events of one order together: each changes the commissions of the order, whatever the sequence they arrive in.

The first commission of an order (slot 0) is locked before anything is read, so that simultaneous events of one order take
turns. The caller stores the event and commits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from ..amounts import from_units, parse_amount, plain_number, to_units
from ..events.models import EmailDecision
from ..events.types import EventType
from .models import COUNTED, Commission, CommissionState
from .order_rows import Order, lock_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ..affiliates.models import Affiliate

_MAX_UNITS = 10**17  # ten times the largest amount; what is refunded or paid beyond it changes nothing


class OtherCurrency(Exception):
    """The order was reported in another currency, which ``currency`` holds."""

    def __init__(self, currency: str) -> None:
        super().__init__(currency)
        self.currency = currency


class OtherAffiliate(Exception):
    """The order is another affiliate's, by its purchase or by an approval that counts."""


@dataclass(frozen=True)
class Reported:
    """An event about money or leads, with the values that were reported."""

    type: EventType
    values: Mapping[str, str]
    occurred_at: datetime
    notify: bool = False  # also if it happened long ago

    @property
    def order(self) -> str:
        return self.values.get("order", "")

    @property
    def currency(self) -> str:
        return self.values.get("currency", "")

    def units(self, name: str) -> int:
        """Return one of the amounts, in units."""
        return to_units(parse_amount(self.values.get(name, "")) or Decimal())


@dataclass
class Effect:
    """What an event changed: ``units`` of its ledger entry, and the values that its emails show.

    ``withheld`` is the reason why it causes no email; with ``emails_owner``, only the affiliate's email is withheld. A
    purchase of an order that was reported before is ``is_repeated``. ``order`` holds the commissions that ``save`` writes.
    """

    units: int = 0
    commission: Commission | None = None
    withheld: EmailDecision = EmailDecision.QUEUED
    emails_owner: bool = False
    is_repeated: bool = False
    shown: dict[str, str] = field(default_factory=dict)
    order: Order | None = None


def apply(affiliate: Affiliate, reported: Reported, now: datetime) -> Effect:
    """Change the commissions of an event's order, which the caller saves. Raises OtherCurrency and OtherAffiliate."""
    if reported.type is EventType.LEAD:
        return Effect()
    if reported.type is EventType.CORRECTION or not reported.order:
        return Effect(reported.units("amount"))
    order = lock_order(affiliate, reported.order, reported.currency, at=reported.occurred_at, now=now)
    effect = _apply(affiliate, reported, order, now)
    effect.order = order
    return effect


def _apply(affiliate: Affiliate, reported: Reported, order: Order, now: datetime) -> Effect:
    if reported.type is EventType.PURCHASE:
        return _purchase(affiliate, reported, order)
    own = _own(affiliate, reported, order)
    counted = [row for row in own if row.state in COUNTED]
    if reported.type is EventType.PAYOUT:
        return _payout(reported, counted or own)
    if not counted:  # it concerns a report that the owner has not called a purchase
        if reported.type is EventType.REFUND:
            _refund(reported, own)  # counts once the owner calls it a purchase
        return Effect(commission=own[0], withheld=EmailDecision.SAME_ORDER)
    match reported.type:
        case EventType.REFUND:
            return _refund(reported, counted)
        case EventType.COMMISSION_APPROVED:
            return approve(counted, now, reported.units("commission"))
        case EventType.COMMISSION_DECLINED:
            return decline(counted, reported.values.get("reason", ""), now)
    raise ValueError(f"{reported.type} changes no commission")


def approve(rows: Sequence[Commission], now: datetime, reported_units: int = 0) -> Effect:
    """Approve commissions. Those whose purchase was not reported earn what the approval states."""
    changed = [row for row in rows if row.state is not CommissionState.APPROVED]
    before = sum(row.remaining for row in changed)
    for row in changed:
        if not row.is_purchased and not row.earned:
            row.earned, reported_units = reported_units, 0
        row.state, row.reason, row.decided_at = CommissionState.APPROVED, "", now
        settle(row)
    return _decided(rows, changed, before, sum(row.remaining for row in changed))


def decline(rows: Sequence[Commission], reason: str, now: datetime) -> Effect:
    """Decline commissions, also approved ones."""
    changed = [row for row in rows if row.state is not CommissionState.DECLINED]
    before = sum(row.remaining for row in changed)
    for row in changed:
        row.state, row.reason, row.decided_at = CommissionState.DECLINED, reason, now
        settle(row)
    return _decided(rows, changed, before, before)


def settle(row: Commission) -> None:
    """Compute what is left of a commission."""
    counts = row.state in (CommissionState.PENDING, CommissionState.APPROVED)
    row.remaining = max(0, row.earned - row.refunded) if counts else 0


def _decided(
    rows: Sequence[Commission], changed: Sequence[Commission], before: int, shown_units: int
) -> Effect:
    """Return the effect of a decision. Of an order of which all was refunded, it is no news."""
    units = sum(row.remaining for row in changed) - before
    effect = Effect(units, rows[0])
    earned = sum(row.earned for row in changed)
    if not changed or (earned and not shown_units):
        effect.withheld = EmailDecision.NO_CHANGE
    if earned:
        effect.shown["commission"] = plain_number(from_units(shown_units), rows[0].currency)
    return effect


def _purchase(affiliate: Affiliate, reported: Reported, order: Order) -> Effect:
    rows = order.rows
    if _is_repeated(affiliate, reported, rows):
        aside = [row for row in rows if row.is_aside and _is_of(row, affiliate, reported)]
        row = aside[0] if aside else order.add()
        row.state = CommissionState.REPEATED
        _fill(row, reported)
        return Effect(commission=row, withheld=EmailDecision.SAME_ORDER, is_repeated=True)
    row = _own(affiliate, reported, order)[0]
    before = row.remaining
    _fill(row, reported)
    settle(row)
    for other in rows:
        if not other.is_known and other is not row:
            other.state, other.decided_at = CommissionState.UNMATCHED, None
    effect = Effect(row.remaining - before, row)
    if row.state is not CommissionState.PENDING or row.is_refunded:  # later emails have reported it
        effect.withheld, effect.emails_owner = EmailDecision.NO_CHANGE, True
    return effect


def _is_repeated(affiliate: Affiliate, reported: Reported, rows: Sequence[Commission]) -> bool:
    """Return whether the order counts already: by a purchase, or by an approval for another affiliate.

    Events that wait for this purchase are no purchase; one that the owner decides about does not stand in its way.
    """
    counted = [row for row in rows if row.state in COUNTED]
    if any(row.is_purchased or (row.remaining and row.affiliate_id != affiliate.id) for row in counted):
        return True
    waits = any(_is_of(row, affiliate, reported) for row in counted)
    return not waits and any(row.is_purchased for row in rows)


def _fill(row: Commission, reported: Reported) -> None:
    row.is_purchased, row.occurred_at = True, reported.occurred_at
    row.amount, row.earned = reported.units("amount"), reported.units("commission")


def _refund(reported: Reported, rows: Sequence[Commission]) -> Effect:
    """Take back commission. Where the purchase is known, no more than is left of it; of several, what counts first."""
    is_known = any(row.is_purchased or row.earned for row in rows)
    before, rest = sum(row.remaining for row in rows), reported.units("commission")
    for row in sorted(rows, key=lambda one: not one.remaining):
        capacity = max(0, row.earned - row.refunded) if is_known else _MAX_UNITS - row.refunded
        taken = min(rest, capacity)
        row.refunded, rest = row.refunded + taken, rest - taken
        settle(row)
    after = sum(row.remaining for row in rows)
    effect = Effect(after - before, rows[0])
    if is_known:
        effect.shown["commission"] = plain_number(from_units(before - after), reported.currency)
        effect.shown["remaining"] = plain_number(from_units(after), reported.currency)
    if after == before and (is_known or not reported.units("commission")):
        effect.withheld = EmailDecision.NO_CHANGE
    return effect


def _payout(reported: Reported, rows: Sequence[Commission]) -> Effect:
    """Note what was paid for the order. The money left, so it counts whatever the state of the commission."""
    units = reported.units("amount")
    row = next((one for one in rows if one.remaining > one.paid), rows[0])
    row.paid = min(row.paid + units, _MAX_UNITS)
    return Effect(units, row)


def _own(affiliate: Affiliate, reported: Reported, order: Order) -> list[Commission]:
    """Return the affiliate's commissions of the order; a new one if there is none yet."""
    rows = order.rows
    theirs = [row for row in rows if row.affiliate_id == affiliate.id and not row.is_aside]
    known = [row.currency for row in theirs if row.is_known]
    if known and reported.currency not in known:
        raise OtherCurrency(known[0])
    if not known and any(row.is_known and row.state in COUNTED for row in rows):
        raise OtherAffiliate
    own = [row for row in theirs if _is_of(row, affiliate, reported)]
    return own or [order.add()]


def _is_of(row: Commission, affiliate: Affiliate, reported: Reported) -> bool:
    return row.affiliate_id == affiliate.id and row.currency == reported.currency
