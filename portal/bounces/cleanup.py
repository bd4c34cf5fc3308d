"""What is deleted when it is old: what came with an event after 30 days, events without a message, old counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select, delete, select, update

from ..db import db
from .models import HAS_RAW, IS_UNMATCHED, BounceEvent, BounceHook, EventState, MessageOutcome, OutcomeHour

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

KEPT_DAYS = 30
_COUNTS_KEPT = timedelta(days=800)
_MAX_UNMATCHED = 10_000  # of one account
_BATCH = 500


def delete_old(now: datetime) -> None:
    """Delete one batch of what is old, and of unmatched events beyond the newest of each account. Commits."""
    before = BounceEvent.received_at < now - timedelta(days=KEPT_DAYS)
    _delete(select(BounceEvent.id).where(IS_UNMATCHED, before))
    raw = list(db.session.scalars(select(BounceEvent.id).where(HAS_RAW, before).limit(_BATCH)))
    if raw:
        cleared = update(BounceEvent).where(BounceEvent.id.in_(raw)).values(raw="")
        db.session.execute(cleared.execution_options(synchronize_session=False))
    for account_id in db.session.scalars(select(BounceHook.account_id).distinct()).all():
        own = (BounceEvent.account_id == account_id, BounceEvent.state == EventState.UNMATCHED)
        newest = select(BounceEvent.id).where(*own).order_by(BounceEvent.id.desc())
        last = db.session.scalar(newest.offset(_MAX_UNMATCHED).limit(1))
        if last is not None:
            _delete(select(BounceEvent.id).where(*own, BounceEvent.id <= last))
    db.session.execute(delete(OutcomeHour).where(OutcomeHour.hour < now - _COUNTS_KEPT))
    db.session.commit()


def _delete(query: Select[int]) -> None:
    ids = list(db.session.scalars(query.limit(_BATCH)))
    if ids:
        statement = delete(BounceEvent).where(BounceEvent.id.in_(ids))
        db.session.execute(statement.execution_options(synchronize_session=False))


def delete_of_messages(message_ids: Collection[int]) -> None:
    """Delete what was reported about messages that are deleted. The caller commits."""
    for statement in (
        delete(BounceEvent).where(BounceEvent.message_id.in_(message_ids)),
        delete(MessageOutcome).where(MessageOutcome.message_id.in_(message_ids)),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))
