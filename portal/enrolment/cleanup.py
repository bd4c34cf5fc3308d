"""Forgetting sign-ups that nobody confirmed: the address may have been a stranger's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, select

from ..affiliates.models import ActionToken, Affiliate, AffiliateState, OptOut
from ..db import db
from ..events.models import Event

UNCONFIRMED_RETENTION = timedelta(days=30)
JOB = "cleanup"
_BATCH_ROWS = 200  # few, so that nobody waits long for the write lock


def find_work(now: datetime) -> list[tuple[str, int]]:
    """Tell the worker's sweep whether there is anybody to forget."""
    return [(JOB, 0)] if db.session.scalar(_expired(now).limit(1)) is not None else []


def delete_unconfirmed(*, now: datetime) -> int:
    """Forget some of those who never confirmed; return how many. Commits."""
    idents = list(db.session.scalars(_expired(now).limit(_BATCH_ROWS).with_for_update(skip_locked=True)))
    for table, column in (
        (ActionToken, ActionToken.affiliate_id),
        (OptOut, OptOut.affiliate_id),
        (Affiliate, Affiliate.id),
    ):
        db.session.execute(delete(table).where(column.in_(idents)))
    db.session.commit()
    return len(idents)


def _expired(now: datetime) -> Select[Any]:
    """Ask for whoever signed up long ago, did not confirm, and of whom the shop told us nothing either."""
    return select(Affiliate.id).where(
        Affiliate.state == AffiliateState.UNCONFIRMED,
        Affiliate.created_at < now - UNCONFIRMED_RETENTION,
        ~exists().where(Event.affiliate_id == Affiliate.id),
    )
