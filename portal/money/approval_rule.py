"""The rule of an account that approves commissions after some days, if they were not declined or refunded by then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account
from ..db import db, insert
from ..events.types import Source
from ..outbox.sending.deliver import stopping
from .decisions import Decision, decide
from .models import ApprovalRule, Commission, CommissionState
from .recording import Cause

if TYPE_CHECKING:
    from sqlalchemy import Select

JOB = "approve-commissions"
MAX_DAYS = 365
_BATCH_ROWS = 100
_MAX_JOBS = 200  # accounts found by one sweep


def find_days(account_id: int) -> int | None:
    """Return after how many days commissions are approved; None without a rule."""
    return db.session.scalar(select(ApprovalRule.days).where(ApprovalRule.account_id == account_id))


def save_days(account_id: int, days: int | None) -> None:
    """Save the rule; None removes it. Commits."""
    if days is None:
        row = db.session.get(ApprovalRule, account_id)
        if row is not None:
            db.session.delete(row)
    else:
        statement = insert(ApprovalRule).values(account_id=account_id, days=days)
        db.session.execute(
            statement.on_conflict_do_update(index_elements=["account_id"], set_={"days": days})
        )
    db.session.commit()


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Return a job for each account whose rule has something to approve."""
    rules = db.session.execute(select(ApprovalRule.account_id, ApprovalRule.days).limit(10 * _MAX_JOBS)).all()
    found = [
        (JOB, account_id)
        for account_id, days in rules
        if db.session.scalar(_due(account_id, days, now).limit(1)) is not None
    ]
    return found[:_MAX_JOBS]


def run(account_id: int, *, now: datetime) -> None:
    """Approve what is due, each commission in a commit of its own. What was due long ago causes no email.

    The rule is read anew for each batch, so that one that the owner removes approves little more.
    """
    account = db.session.get(Account, account_id)
    while account is not None and not stopping.is_set() and (days := find_days(account_id)) is not None:
        cause = Cause(Source.PLANNER, now, after=timedelta(days=days))
        ids = list(db.session.scalars(_due(account_id, days, now).order_by(Commission.id).limit(_BATCH_ROWS)))
        db.session.commit()
        if not sum(decide(account, one, Decision.APPROVE, cause) for one in ids):
            break


def _due(account_id: int, days: int, now: datetime) -> Select[Any]:
    return select(Commission.id).where(
        Commission.account_id == account_id,
        Commission.state == CommissionState.PENDING,
        Commission.occurred_at <= now - timedelta(days=days),
        Commission.is_purchased,
        (Commission.remaining > 0) | (Commission.earned == 0),
    )
