"""What the owner decides about an affiliate. Each deed is harmless the second time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates import cancel_pending
from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..events.dispatch import record_event
from ..events.types import EventType, Source

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Account


@dataclass(frozen=True)
class StateChange:
    """Whom it was about, and whether anything changed."""

    affiliate: Affiliate
    changed: bool


def approve(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Let in somebody who waits, or was declined before. Commits; None: not this account's."""
    return _change_state(
        account,
        affiliate_id,
        (AffiliateState.PENDING, AffiliateState.DECLINED),
        AffiliateState.ACTIVE,
        now,
        EventType.APPROVED,
    )


def decline(account: Account, affiliate_id: int, reason: str, *, now: datetime) -> StateChange | None:
    """Turn down somebody who waits; the email says the reason, if there is one. As ``approve``."""
    values = {"reason": reason}
    return _change_state(
        account,
        affiliate_id,
        (AffiliateState.PENDING,),
        AffiliateState.DECLINED,
        now,
        EventType.DECLINED,
        values,
    )


def suspend(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Send an affiliate nothing more until further notice, not even what waits. No email tells of it.

    As ``approve``.
    """
    return _change_state(account, affiliate_id, (AffiliateState.ACTIVE,), AffiliateState.SUSPENDED, now)


def unsuspend(account: Account, affiliate_id: int, *, now: datetime) -> StateChange | None:
    """Let a suspended affiliate go on. As ``approve``."""
    return _change_state(account, affiliate_id, (AffiliateState.SUSPENDED,), AffiliateState.ACTIVE, now)


def _change_state(
    account: Account,
    affiliate_id: int,
    allowed: tuple[AffiliateState, ...],
    new: AffiliateState,
    now: datetime,
    occasion: EventType | None = None,
    values: dict[str, str] | None = None,
) -> StateChange | None:
    affiliate = _lock_affiliate(account.id, affiliate_id)
    if affiliate is None:
        return None
    changed = affiliate.state in allowed
    if changed:
        affiliate.state, affiliate.state_since = new, now
        db.session.flush()
    if changed and new is AffiliateState.SUSPENDED:
        cancel_pending.for_suspended(affiliate, now=now)
    if changed and occasion is not None:
        # The moment is part of the key: somebody may be declined, let in, and declined once more.
        key = f"{occasion}:{affiliate.id}:{now:%Y%m%d%H%M%S%f}"
        record_event(account, occasion, affiliate, values or {}, key=key, source=Source.PORTAL, now=now)
    db.session.commit()
    return StateChange(affiliate, changed)


def _lock_affiliate(account_id: int, affiliate_id: int) -> Affiliate | None:
    """Lock the row, so that of two clicks at once the second sees what the first has done."""
    query = select(Affiliate).where(Affiliate.id == affiliate_id, Affiliate.account_id == account_id)
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
