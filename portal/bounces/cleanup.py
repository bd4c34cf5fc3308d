"""What is deleted when it is old: what came with an event after 30 days, events without a message, old counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Delete, Select, Update, delete, select, update

from ..db import db
from .models import HAS_RAW, IS_UNMATCHED, BounceEvent, BounceHook, EventState, MessageOutcome, OutcomeHour

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement

KEPT_DAYS = 30
_COUNTS_KEPT = timedelta(days=800)
_MAX_UNMATCHED = 10_000  # of one account
_BATCH = 500
_MAX_BATCHES = 200  # of one run; a run comes every ten minutes


def delete_old(now: datetime) -> None:
    """Delete what is old, and unmatched events beyond the newest of each account, up to a limit. Commits each batch."""
    before = BounceEvent.received_at < now - timedelta(days=KEPT_DAYS)
    _delete(select(BounceEvent.id).where(IS_UNMATCHED, before))
    _repeat(select(BounceEvent.id).where(HAS_RAW, before), update(BounceEvent).values(raw=""))
    for account_id in db.session.scalars(_with_surplus()).all():
        own = (BounceEvent.account_id == account_id, BounceEvent.state == EventState.UNMATCHED)
        last = db.session.scalar(_newest(*own).offset(_MAX_UNMATCHED).limit(1))
        if last is not None:
            _delete(select(BounceEvent.id).where(*own, BounceEvent.id <= last))
    db.session.execute(delete(OutcomeHour).where(OutcomeHour.hour < now - _COUNTS_KEPT))
    db.session.commit()


def _with_surplus() -> Select[int]:
    """Return the query for the accounts with hooks that have more unmatched events than are kept: one for all accounts."""
    own = (BounceEvent.account_id == BounceHook.account_id, BounceEvent.state == EventState.UNMATCHED)
    surplus = _newest(*own).offset(_MAX_UNMATCHED).limit(1)
    return select(BounceHook.account_id).where(surplus.exists()).distinct()


def _newest(*own: ColumnElement[bool]) -> Select[int]:
    return select(BounceEvent.id).where(*own).order_by(BounceEvent.id.desc())


def _delete(query: Select[int]) -> None:
    _repeat(query, delete(BounceEvent))


def _repeat(query: Select[int], change: Update | Delete) -> None:
    """Apply the change to what the query finds, batch by batch. Each commits, so that no other writer waits for all."""
    for _ in range(_MAX_BATCHES):
        ids = list(db.session.scalars(query.limit(_BATCH)))
        if ids:
            statement = change.where(BounceEvent.id.in_(ids))
            db.session.execute(statement.execution_options(synchronize_session=False))
            db.session.commit()
        if len(ids) < _BATCH:
            return


def delete_of_messages(message_ids: Collection[int]) -> None:
    """Delete what was reported about messages that are deleted. The caller holds the lock of their account, and commits."""
    for statement in (
        delete(BounceEvent).where(BounceEvent.message_id.in_(message_ids)),
        delete(MessageOutcome).where(MessageOutcome.message_id.in_(message_ids)),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))
