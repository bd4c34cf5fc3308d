"""The rule of an account that approves commissions after some days, if they were not declined or refunded by then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select

from .. import audit
from ..accounts.models import Account
from ..db import db, insert
from ..events.types import Source
from ..outbox.sending.deliver import stopping
from .decisions import Decision, decide
from .models import CAN_BE_APPROVED, ApprovalRule, Commission
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
    before = {"days": find_days(account_id)}
    audit.record(audit.Activity.COMMISSION_RULE_SAVED, account_id, before=before, after={"days": days})
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
    found: list[int] = []
    for days in db.session.scalars(select(ApprovalRule.days).distinct().order_by(ApprovalRule.days)):
        is_due = exists(_due(days, now).where(Commission.account_id == ApprovalRule.account_id))
        query = select(ApprovalRule.account_id).where(ApprovalRule.days == days, is_due)
        found += db.session.scalars(query.order_by(ApprovalRule.account_id).limit(_MAX_JOBS))
    return [(JOB, account_id) for account_id in sorted(found)[:_MAX_JOBS]]


def run(account_id: int, *, now: datetime) -> None:
    """Approve what is due, each commission in a commit of its own. What was due long ago causes no email.

    The rule is read anew for each batch, so that one that the owner removes approves little more.
    """
    account = db.session.get(Account, account_id)
    while account is not None and not stopping.is_set() and (days := find_days(account_id)) is not None:
        cause = Cause(Source.PLANNER, now, after=timedelta(days=days))
        due = _due(days, now).where(Commission.account_id == account_id)
        oldest_first = due.order_by(Commission.occurred_at, Commission.id).limit(_BATCH_ROWS)
        ids = list(db.session.scalars(oldest_first))
        db.session.commit()
        if not sum(decide(account, one, Decision.APPROVE, cause) for one in ids):
            break


def _due(days: int, now: datetime) -> Select[Any]:
    return select(Commission.id).where(CAN_BE_APPROVED, Commission.occurred_at <= now - timedelta(days=days))
