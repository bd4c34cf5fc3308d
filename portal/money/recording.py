"""Records an event about money: what it changes, its emails and its entry in the ledger, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert

from ..db.prepared import PreparedStatement
from ..events import dispatch
from ..events.dispatch import NewEvent, RecordedEvent, record_event
from ..events.models import EmailDecision
from ..events.types import OLD_AFTER, EventType, Source
from . import orders
from .models import LedgerEntry
from .orders import Effect, Reported

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ..accounts.models import Account
    from ..affiliates.models import Affiliate

_LEDGER = tuple(column.key for column in LedgerEntry.__table__.c if column.key != "id")
_INSERT_ENTRY = PreparedStatement(
    insert(LedgerEntry).values({name: bindparam(f"v_{name}") for name in _LEDGER})
)


@dataclass(frozen=True)
class Cause:
    """Where an event comes from and when it is recorded. ``key`` identifies it within the account.

    ``after`` is the time from a purchase to its approval by the rule. An approval that was due long ago causes no email,
    like other old events.
    """

    source: Source
    now: datetime
    key: str = ""
    after: timedelta | None = None


def record(account: Account, affiliate: Affiliate, reported: Reported, cause: Cause) -> RecordedEvent:
    """Record an event that was reported. The caller commits. A known key changes nothing.

    A simulated event causes emails and counts nowhere.

    Raises:
        OtherCurrency: the order was reported in another currency.
        OtherAffiliate: the order was reported for another affiliate.
    """
    known = dispatch.find_event_id(account.id, cause.key)
    if known is not None:
        return RecordedEvent(known, is_new=False)
    if cause.source is Source.SIMULATED:
        new = NewEvent(account, reported.type, affiliate, reported.values)
        return record_event(new, key=cause.key, source=cause.source, now=cause.now)
    effect = orders.apply(affiliate, reported, cause.now)
    recorded = store(account, affiliate, reported, effect, cause)
    if effect.commission is not None and reported.type is EventType.PURCHASE:
        effect.commission.event_id = recorded.event_id
    if effect.order is not None:
        effect.order.save()
    if effect.is_repeated:
        _notify_owner(account, affiliate, reported, recorded.event_id, cause.now)
    return recorded


def store(
    account: Account, affiliate: Affiliate, reported: Reported, effect: Effect, cause: Cause
) -> RecordedEvent:
    """Store an event with its emails and, if it counts, its ledger entry. The caller commits."""
    withheld, is_too_old = effect.withheld, is_old(reported, cause.now)
    if withheld is EmailDecision.QUEUED and is_too_old:
        withheld = EmailDecision.TOO_OLD
    values = _shown_values(reported, effect)
    emails_owner = effect.emails_owner and not is_too_old
    new = NewEvent(account, reported.type, affiliate, values, withheld, emails_owner=emails_owner)
    recorded = record_event(new, key=cause.key, source=cause.source, now=cause.now)
    if not effect.is_repeated:
        _INSERT_ENTRY.rowcount(
            v_event_id=recorded.event_id,
            v_account_id=account.id,
            v_affiliate_id=affiliate.id,
            v_commission_id=effect.commission.id if effect.commission else None,
            v_type=reported.type,
            v_currency=reported.currency,
            v_units=effect.units,
            v_occurred_at=reported.occurred_at,
            v_created_at=cause.now,
            v_week="" if is_too_old else None,
        )
    return recorded


def is_old(reported: Reported, now: datetime) -> bool:
    """Return whether an event happened too long ago to be mailed unasked, also in a weekly summary."""
    return now - reported.occurred_at > OLD_AFTER and not reported.notify


def _shown_values(reported: Reported, effect: Effect) -> dict[str, str]:
    """Return the values to store. A sum that differs from the reported one keeps that beside it."""
    values = {**reported.values, **effect.shown}
    entered = reported.values.get("commission")
    if entered is not None and reported.units("commission") != Reported(
        reported.type, values, reported.occurred_at
    ).units("commission"):
        values["reported_commission"] = entered
    elif entered is not None:
        values["commission"] = entered
    return values


def _notify_owner(
    account: Account, affiliate: Affiliate, reported: Reported, event_id: int, now: datetime
) -> None:
    withheld = EmailDecision.TOO_OLD if is_old(reported, now) else EmailDecision.QUEUED
    new = NewEvent(account, EventType.ORDER_REPEATED, affiliate, reported.values, withheld)
    record_event(new, key=f"repeated:{event_id}", source=Source.PORTAL, now=now)
