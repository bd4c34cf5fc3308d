"""Blanks what providers report about a person after the erasure: a report of an email that was sent before names them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update

from ..affiliates import erased
from ..bounces.models import HAS_RAW, BounceEvent, MessageOutcome
from ..db import db
from ..outbox.models import OutboxMessage
from .blanking import BATCH, blank_reports

_LOOK_BACK = timedelta(days=2)  # of what was received; this runs every ten minutes
_MAX_BATCHES = 50


def blank(now: datetime) -> None:
    """Blank recent reports about messages whose recipient was erased. Commits each batch."""
    query = (
        select(BounceEvent.id, BounceEvent.message_id, OutboxMessage.recipient)
        .join(OutboxMessage, OutboxMessage.id == BounceEvent.message_id)
        .where(
            HAS_RAW,
            BounceEvent.received_at > now - _LOOK_BACK,
            OutboxMessage.recipient.endswith(erased.blank_mailbox(0).partition("@")[2], autoescape=True),
        )
        .limit(BATCH)
    )
    for _ in range(_MAX_BATCHES):
        rows = db.session.execute(query).all()
        for row in rows:
            blank_reports(BounceEvent.id == row.id, row.recipient)
            reason = update(MessageOutcome).where(MessageOutcome.message_id == row.message_id)
            db.session.execute(reason.values(reason=""))
        db.session.commit()
        if len(rows) < BATCH:
            break
