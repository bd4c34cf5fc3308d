"""The owner's decisions about an affiliate. Repeating a decision changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from .. import audit
from ..affiliates import cancel_pending
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..events.dispatch import NewEvent, record_event
from ..events.types import EventType, Source

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Account


@dataclass(frozen=True)
class StateChange:
    """The affiliate after a decision, and whether the decision changed anything."""

    affiliate: Affiliate
    changed: bool


@dataclass(frozen=True)
class _Transition:
    """The states in which a decision is possible, the state it leads to, and what it records."""

    allowed: tuple[AffiliateState, ...]
    new: AffiliateState
    action: audit.Activity
    event: EventType | None = None


APPROVABLE = (AffiliateState.PENDING, AffiliateState.DECLINED)
DECLINABLE = (AffiliateState.PENDING,)
_APPROVE = _Transition(
    APPROVABLE, AffiliateState.ACTIVE, audit.Activity.AFFILIATE_APPROVED, EventType.APPROVED
)
_DECLINE = _Transition(
    DECLINABLE, AffiliateState.DECLINED, audit.Activity.AFFILIATE_DECLINED, EventType.DECLINED
)
_SUSPEND = _Transition((AffiliateState.ACTIVE,), AffiliateState.SUSPENDED, audit.Activity.AFFILIATE_SUSPENDED)
_UNSUSPEND = _Transition(
    (AffiliateState.SUSPENDED,), AffiliateState.ACTIVE, audit.Activity.AFFILIATE_UNSUSPENDED
)


def approve(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Approve a pending or declined affiliate. Returns None for another account's affiliate. Commits."""
    return _change_state(account, affiliate_id, _APPROVE, now)


def decline(account: Account, affiliate_id: int, reason: str, *, now: datetime) -> StateChange | None:
    """Decline a pending affiliate; the email states the reason, if there is one. As ``approve``. Commits."""
    return _change_state(account, affiliate_id, _DECLINE, now, {"reason": reason})


def decline_without_reason(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Decline a pending affiliate; the email states no reason. As ``approve``. Commits."""
    return decline(account, affiliate_id, "", now=now)


def suspend(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Suspend an active affiliate: no email is sent to them, and queued ones are cancelled. As ``approve``. Commits.

    The affiliate is not informed.
    """
    return _change_state(account, affiliate_id, _SUSPEND, now)


def unsuspend(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Make a suspended affiliate active again. As ``approve``. Commits."""
    return _change_state(account, affiliate_id, _UNSUSPEND, now)


def _change_state(
    account: Account,
    affiliate_id: int,
    transition: _Transition,
    now: datetime,
    values: dict[str, str] | None = None,
) -> StateChange | None:
    affiliate = lock_affiliate(account.id, affiliate_id)
    if affiliate is None:
        return None
    changed = affiliate.state in transition.allowed
    if changed:
        affiliate.state, affiliate.state_since = transition.new, now
        db.session.flush()
        audit.record(transition.action, account.id, target=audit.AuditTarget("affiliate", affiliate_id))
        if transition.new is AffiliateState.SUSPENDED:
            cancel_pending.for_suspended(affiliate, now=now)
        if transition.event is not None:
            # The time is part of the key because an affiliate can be declined, approved and declined again.
            key = f"{transition.event}:{affiliate.id}:{now:%Y%m%d%H%M%S%f}"
            new = NewEvent(account, transition.event, affiliate, values or {})
            record_event(new, key=key, source=Source.PORTAL, now=now)
    db.session.commit()
    return StateChange(affiliate, changed)


def lock_affiliate(account_id: int, affiliate_id: int) -> Affiliate | None:
    """Return the affiliate with its row locked, so that the second of two simultaneous clicks sees the result of the first."""
    query = select(Affiliate).where(Affiliate.id == affiliate_id, Affiliate.account_id == account_id)
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
