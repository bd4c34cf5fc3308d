"""The worker's housekeeping for the API: keys of requests that nobody repeats any more go."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from ..db import db
from .models import ApiRequest

KEPT = timedelta(days=30)
BATCH = 500
_ROUNDS = 20  # batches at once, so that other work is not kept waiting


def forget(now: datetime) -> int:
    """Remove requests answered long ago, a batch a commit; return how many those were.

    Their events stay, and with them their keys: a request repeated even then causes nothing twice.
    """
    count = 0
    for _ in range(_ROUNDS):
        found = _forget_some(now - KEPT)
        count += found
        if found < BATCH:
            break
    return count


def _forget_some(before: datetime) -> int:
    """Look at the first rows alone: they are in the order of time, and those that are kept may be very many."""
    first = db.session.execute(
        select(ApiRequest.id, ApiRequest.created_at).order_by(ApiRequest.id).limit(BATCH)
    ).all()
    old = [ident for ident, created_at in first if created_at < before]
    db.session.execute(delete(ApiRequest).where(ApiRequest.id.in_(old)))
    db.session.commit()
    return len(old)
