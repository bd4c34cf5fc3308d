"""How long an account keeps its messages: their words for a while, then what became of them a while longer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from ..accounts.models import Account
from ..db import db, insert
from ..outbox import cancellations
from ..outbox.models import DeliveryAttempt, OutboxMessage
from .models import DeliveryKeeping
from .models import DeliveryLine as Line

LEAST, MOST = 1, 3650  # days
BATCH = 200  # messages of one account in one transaction


@dataclass(frozen=True)
class Keeping:
    """Days since a message was settled: until its words go, and until it goes."""

    body_days: int = 90
    row_days: int = 400


def of(account_id: int) -> Keeping:
    """Return what the account has chosen, or what is usual."""
    row = db.session.get(DeliveryKeeping, account_id)
    return Keeping(row.body_days, row.row_days) if row else Keeping()


def save(account_id: int, chosen: Keeping) -> None:
    """Keep messages as long as this from now on. Commits."""
    values = {"body_days": chosen.body_days, "row_days": chosen.row_days}
    statement = insert(DeliveryKeeping).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    db.session.commit()


def prune(now: datetime) -> int:
    """Remove one batch of what is past its retention from each account. Commits. Return the count of messages."""
    found = 0
    for account in db.session.scalars(select(Account.id).order_by(Account.id)).all():
        kept = of(account)
        found += _remove(_old(account, now - timedelta(days=kept.row_days), any_state=True))
        found += _wipe(_old(account, now - timedelta(days=kept.body_days), any_state=False), now)
        db.session.commit()
    return found


def _old(account: int, before: datetime, *, any_state: bool) -> list[int]:
    """Some messages settled before a moment: whose words are still there, or any."""
    query = select(Line.message_id).where(Line.account_id == account, Line.settled_at < before)
    if not any_state:
        query = query.where(Line.wiped_at.is_(None))
    return list(db.session.scalars(query.order_by(Line.settled_at).limit(BATCH)))


def _wipe(idents: list[int], now: datetime) -> int:
    """Remove the words: bodies, and the conversations with servers."""
    if idents:
        bodies = update(OutboxMessage).where(OutboxMessage.id.in_(idents)).values(text="", html="")
        said = update(DeliveryAttempt).where(DeliveryAttempt.message_id.in_(idents)).values(transcript="")
        marked = update(Line).where(Line.message_id.in_(idents)).values(wiped_at=now)
        for statement in (bodies, said, marked):
            db.session.execute(statement.execution_options(synchronize_session=False))
    return len(idents)


def _remove(idents: list[int]) -> int:
    if idents:
        db.session.execute(delete(DeliveryAttempt).where(DeliveryAttempt.message_id.in_(idents)))
        cancellations.delete_reasons(idents)
        db.session.execute(delete(OutboxMessage).where(OutboxMessage.id.in_(idents)))
    return len(idents)
