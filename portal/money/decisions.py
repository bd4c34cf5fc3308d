"""The owner's decisions about commissions. A decision that was made already changes nothing and causes no email."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from .. import audit
from ..affiliates import directory
from ..affiliates.models import Affiliate
from ..amounts import from_units, plain_number
from ..db import db
from ..events.models import EmailDecision, Event, EventMail
from ..events.types import EventType
from . import orders, recording
from .models import Commission, CommissionState
from .orders import Effect, Reported

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..accounts.models import Account
    from .recording import Cause

MAX_AT_ONCE = 500  # commissions; a page offers far fewer


class Decision(StrEnum):
    """A decision about a commission."""

    APPROVE = "approve"
    DECLINE = "decline"
    SECOND = "second"  # of an order that was reported twice: it is another purchase
    SAME = (
        "same"  # it is the purchase that was reported before, or what does not fit it needs no further look
    )


_ALLOWED = {
    Decision.APPROVE: (CommissionState.PENDING, CommissionState.DECLINED),
    Decision.DECLINE: (CommissionState.PENDING, CommissionState.APPROVED),
    Decision.SECOND: (CommissionState.REPEATED, CommissionState.DISMISSED),
    Decision.SAME: (CommissionState.REPEATED, CommissionState.UNMATCHED),
}


def can_decide(row: Commission, decision: Decision) -> bool:
    """Return whether a decision would change a commission."""
    if (decision is Decision.APPROVE and row.is_refunded) or (decision is Decision.SECOND and row.is_aside):
        return False
    return row.state in _ALLOWED[decision]


@dataclass(frozen=True)
class DecisionPreview:
    """What a decision would change: ``changes``, newest first, and how many of the chosen commissions it would not."""

    changes: Sequence[Commission]
    unchanged: int


def preview(account_id: int, ids: Iterable[int], decision: Decision) -> DecisionPreview:
    """Return what a decision about these commissions of an account would change now."""
    chosen = sorted(set(ids))[:MAX_AT_ONCE]
    query = select(Commission).where(Commission.account_id == account_id, Commission.id.in_(chosen))
    rows = db.session.scalars(query.order_by(Commission.id.desc())).all()
    changes = [row for row in rows if can_decide(row, decision)]
    return DecisionPreview(changes, len(rows) - len(changes))


def decide_all(
    account: Account, ids: Iterable[int], decision: Decision, cause: Cause, reason: str = ""
) -> int:
    """Decide about several commissions, each in a commit of its own; return how many were changed."""
    chosen = sorted(set(ids))[:MAX_AT_ONCE]
    return sum(decide(account, one, decision, cause, reason) for one in chosen)


def decide(account: Account, commission_id: int, decision: Decision, cause: Cause, reason: str = "") -> bool:
    """Decide about one commission; return whether that changed anything. Commits.

    The row is locked, so the second of two simultaneous decisions finds the result of the first.
    """
    query = select(Commission).where(Commission.id == commission_id, Commission.account_id == account.id)
    row = db.session.scalar(query.with_for_update().execution_options(populate_existing=True))
    changed = row is not None and can_decide(row, decision)
    if row is not None and changed:
        match decision:
            case Decision.APPROVE:
                _store_decision(account, row, orders.approve([row], cause.now), cause)
            case Decision.DECLINE:
                _store_decision(account, row, orders.decline([row], reason, cause.now), cause, reason)
            case Decision.SECOND:
                _count(account, row, cause)
            case Decision.SAME:
                row.state, row.decided_at = CommissionState.DISMISSED, cause.now
        if cause.after is None:  # not by the rule, which was recorded when it was saved
            target, after = audit.AuditTarget("commission", commission_id), {"decision": decision.value}
            audit.record(audit.Activity.COMMISSION_DECIDED, account.id, target=target, after=after)
    db.session.commit()
    return changed


def _store_decision(
    account: Account, row: Commission, effect: Effect, cause: Cause, reason: str | None = None
) -> None:
    """Store the event of an approval or, with a reason, of a decline."""
    type_ = EventType.COMMISSION_APPROVED if reason is None else EventType.COMMISSION_DECLINED
    values = {
        "order": row.order_ref,
        "commission": effect.shown.pop("commission", plain_number(from_units(row.remaining), row.currency)),
        "currency": row.currency,
    }
    if reason is not None:
        values |= {"reason": reason, "outcome": "declined"}
    at = cause.now if cause.after is None else row.occurred_at + cause.after
    reported = Reported(type_, values, at)
    recording.store(account, _affiliate(row), reported, effect, _with_key(cause, type_.value, row))


def _count(account: Account, row: Commission, cause: Cause) -> None:
    """Count a purchase of an order that was reported before. Its emails leave now, unless they left with the report."""
    first = db.session.get(Event, row.event_id) if row.event_id is not None else None
    row.state, row.decided_at = CommissionState.PENDING, None
    orders.settle(row)
    values = {
        "amount": plain_number(from_units(row.amount), row.currency),
        "commission": plain_number(from_units(row.earned), row.currency),
        **(first.values if first is not None else {}),
        "order": row.order_ref,
        "currency": row.currency,
    }
    reported = Reported(EventType.PURCHASE, values, row.occurred_at)
    effect = Effect(row.remaining, row)
    if row.refunded:
        effect.shown["commission"] = plain_number(from_units(row.remaining), row.currency)
    if row.is_refunded or (first is not None and not _was_withheld(first.id)):
        effect.withheld = EmailDecision.NO_CHANGE
    cause = _with_key(cause, "second-purchase", row)
    row.event_id = recording.store(account, _affiliate(row), reported, effect, cause).event_id


def _with_key(cause: Cause, what: str, row: Commission) -> Cause:
    """Return the cause with a key that contains the time, because a commission can be decided anew."""
    return replace(cause, key=f"{what}:{row.id}:{cause.now:%Y%m%d%H%M%S%f}")


def _affiliate(row: Commission) -> Affiliate:
    affiliate = db.session.get_one(Affiliate, row.affiliate_id)
    directory.keep([affiliate])  # refreshed, if the person was erased in the meantime
    return affiliate


def _was_withheld(event_id: int) -> bool:
    found = exists().where(EventMail.event_id == event_id, EventMail.decision == EmailDecision.SAME_ORDER)
    return bool(db.session.scalar(select(found)))
