"""Deletes sign-ups that were never confirmed, because the mailbox may be a stranger's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, select

from ..affiliates.models import ActionToken, Affiliate, AffiliateState, FormerCode, OptOut
from ..db import db
from ..events.models import Event

UNCONFIRMED_RETENTION = timedelta(days=30)
JOB = "cleanup"
_BATCH_ROWS = 200  # small, so that the write lock is held briefly


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Return one job if there are unconfirmed sign-ups to delete."""
    return [(JOB, 0)] if db.session.scalar(_expired(now).limit(1)) is not None else []


def delete_unconfirmed(*, now: datetime) -> int:
    """Delete one batch of unconfirmed sign-ups; return their number. Commits."""
    ids = list(db.session.scalars(_expired(now).limit(_BATCH_ROWS).with_for_update(skip_locked=True)))
    for table, column in (
        (ActionToken, ActionToken.affiliate_id),
        (OptOut, OptOut.affiliate_id),
        (FormerCode, FormerCode.affiliate_id),
        (Affiliate, Affiliate.id),
    ):
        db.session.execute(delete(table).where(column.in_(ids)))
    db.session.commit()
    return len(ids)


def _expired(now: datetime) -> Select[Any]:
    """Return the query for old unconfirmed sign-ups without events."""
    return select(Affiliate.id).where(
        Affiliate.state == AffiliateState.UNCONFIRMED,
        Affiliate.created_at < now - UNCONFIRMED_RETENTION,
        ~exists().where(Event.affiliate_id == Affiliate.id),
    )
