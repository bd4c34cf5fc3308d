"""Retention: how long an account keeps its messages. First the text is removed, later the whole message."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, delete, or_, select, update

from .. import audit
from ..accounts.models import Account
from ..bounces import cleanup, outcomes
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..outbox import cancellations
from ..outbox.models import DeliveryAttempt, OutboxMessage
from .models import LogRow, RetentionSetting

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute

MIN_DAYS, MAX_DAYS = 1, 3650  # days
BATCH = 200  # messages of one account in one transaction
_CHOSEN = PreparedStatement(
    select(RetentionSetting.body_days, RetentionSetting.row_days).where(
        RetentionSetting.account_id == bindparam("account_id")
    )
)


@dataclass(frozen=True)
class Retention:
    """Days since a message was settled."""

    body_days: int = 90  # until the text and the transcripts are removed
    row_days: int = 400  # until the message is deleted


def get(account_id: int) -> Retention:
    """Return what the account has chosen, or the default."""
    row = _CHOSEN.first(account_id=account_id)
    return Retention(*row) if row else Retention()


def save(account_id: int, chosen: Retention) -> None:
    """Set how long the account keeps messages. Commits."""
    values = {"body_days": chosen.body_days, "row_days": chosen.row_days}
    audit.record(audit.Activity.RETENTION_SAVED, account_id, before=asdict(get(account_id)), after=values)
    statement = insert(RetentionSetting).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    db.session.commit()


def prune(now: datetime) -> int:
    """Remove one batch of what is past its retention from each account; return the number of messages. Commits.

    Messages that are not settled are never removed. Accounts without expired messages cost no statement of their own.
    """
    found = 0
    for account_id in _accounts_with_expired(now):
        chosen = get(account_id)
        found += _delete(account_id, _find_expired(account_id, now - timedelta(days=chosen.row_days)))
        expired = _find_expired(account_id, now - timedelta(days=chosen.body_days), with_text_only=True)
        found += _clear_bodies(expired, now)
        db.session.commit()
    return found


def _accounts_with_expired(now: datetime) -> list[int]:
    """Return the accounts with expired messages or texts: one query for all with the default, and one for each other choice."""
    row = RetentionSetting
    own = select(row.account_id).where(row.account_id == Account.id)
    choices = [(Retention(), ~own.exists())]
    for days in db.session.execute(select(row.body_days, row.row_days).distinct()).all():
        same = own.where(row.body_days == days.body_days, row.row_days == days.row_days)
        choices.append((Retention(days.body_days, days.row_days), same.exists()))
    found: list[int] = []
    for chosen, is_chosen in choices:
        messages = _expired(Account.id, now - timedelta(days=chosen.row_days))
        texts = _expired(Account.id, now - timedelta(days=chosen.body_days), with_text_only=True)
        query = select(Account.id).where(is_chosen, or_(messages.exists(), texts.exists()))
        found += db.session.scalars(query)
    return sorted(found)


def _find_expired(account_id: int, before: datetime, *, with_text_only: bool = False) -> list[int]:
    """Return up to ``BATCH`` messages settled before a moment; ``with_text_only`` leaves out cleared ones."""
    query = _expired(account_id, before, with_text_only=with_text_only)
    return list(db.session.scalars(query.order_by(LogRow.settled_at).limit(BATCH)))


def _expired(
    account_id: int | InstrumentedAttribute[int], before: datetime, *, with_text_only: bool = False
) -> Select[int]:
    query = select(LogRow.message_id).where(LogRow.account_id == account_id, LogRow.settled_at < before)
    return query.where(LogRow.wiped_at.is_(None)) if with_text_only else query


def _clear_bodies(message_ids: list[int], now: datetime) -> int:
    """Remove the text of messages and the transcripts of their attempts."""
    if message_ids:
        bodies = update(OutboxMessage).where(OutboxMessage.id.in_(message_ids)).values(text="", html="")
        transcripts = (
            update(DeliveryAttempt).where(DeliveryAttempt.message_id.in_(message_ids)).values(transcript="")
        )
        marked = update(LogRow).where(LogRow.message_id.in_(message_ids)).values(wiped_at=now)
        for statement in (bodies, transcripts, marked):
            db.session.execute(statement.execution_options(synchronize_session=False))
    return len(message_ids)


def _delete(account_id: int, message_ids: list[int]) -> int:
    if message_ids:
        # Without the lock, an event that is matched at the same time outlives its message.
        outcomes.lock_account(account_id)
        db.session.execute(delete(DeliveryAttempt).where(DeliveryAttempt.message_id.in_(message_ids)))
        cancellations.delete_reasons(message_ids)
        cleanup.delete_of_messages(message_ids)
        db.session.execute(delete(OutboxMessage).where(OutboxMessage.id.in_(message_ids)))
    return len(message_ids)
