"""Cleanup of old API requests, whose idempotency keys are no longer repeated."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from ..db import db
from .models import ApiRequest

RETENTION = timedelta(days=30)
BATCH_ROWS = 500
_MAX_BATCHES = 20  # per run, so that other jobs do not wait


def delete_old_requests(now: datetime) -> int:
    """Delete requests older than RETENTION; return their number. Commits after each batch.

    Their events stay with their keys, so even a later repeat of a request has no second effect.
    """
    count = 0
    for _ in range(_MAX_BATCHES):
        found = _delete_batch(now - RETENTION)
        count += found
        if found < BATCH_ROWS:
            break
    return count


def _delete_batch(before: datetime) -> int:
    """Delete the old ones of the first BATCH_ROWS rows. Ids grow with time, so the table need not be scanned further."""
    first = db.session.execute(
        select(ApiRequest.id, ApiRequest.created_at).order_by(ApiRequest.id).limit(BATCH_ROWS)
    ).all()
    old = [id_ for id_, created_at in first if created_at < before]
    db.session.execute(delete(ApiRequest).where(ApiRequest.id.in_(old)))
    db.session.commit()
    return len(old)
