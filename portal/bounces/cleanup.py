"""What is deleted when it is old: what came with an event after 30 days, events without a message, old counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from ..db import db
from .models import BounceEvent, EventState, MessageOutcome, OutcomeHour

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

KEPT_DAYS = 30
_COUNTS_KEPT = timedelta(days=800)
_BATCH = 500


def delete_old(now: datetime) -> None:
    """Delete one batch of what is old. Commits."""
    old = (
        select(BounceEvent.id)
        .where(BounceEvent.received_at < now - timedelta(days=KEPT_DAYS))
        .where((BounceEvent.state != EventState.MATCHED) | (BounceEvent.raw != ""))
        .order_by(BounceEvent.received_at)
        .limit(_BATCH)
    )
    ids = list(db.session.scalars(old))
    if ids:
        own = BounceEvent.id.in_(ids)
        for statement in (
            delete(BounceEvent).where(own, BounceEvent.state != EventState.MATCHED),
            update(BounceEvent).where(own).values(raw=""),
        ):
            db.session.execute(statement.execution_options(synchronize_session=False))
    db.session.execute(delete(OutcomeHour).where(OutcomeHour.hour < now - _COUNTS_KEPT))
    db.session.commit()


def delete_of_messages(message_ids: Collection[int]) -> None:
    """Delete what was reported about messages that are deleted. The caller commits."""
    for statement in (
        delete(BounceEvent).where(BounceEvent.message_id.in_(message_ids)),
        delete(MessageOutcome).where(MessageOutcome.message_id.in_(message_ids)),
    ):
        db.session.execute(statement.execution_options(synchronize_session=False))
