"""What the delivery log has to do with bounces: it finds the message of an event, and stores the outcome of each message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from ..bounces import breaker, matching, outcomes
from ..db import db
from .models import NOT_EMPTY, LogRow

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask
    from sqlalchemy import Select

    from ..bounces.outcomes import OutcomeChange

_MAX_FOUND = 20  # messages with one queue id


def install(app: Flask) -> None:
    """Register the searches, the counter and the listener with the app."""
    search = matching.MessageSearch(by_queue_id=_by_queue_id, by_header_id=_by_header_id)
    matching.register_search(app, search)
    breaker.register_counter(app, _count_to_domain)
    outcomes.add_listener(app, _store)


def _by_queue_id(account_id: int, queue_id: str) -> list[int]:
    query = select(LogRow.message_id).where(
        LogRow.account_id == account_id, NOT_EMPTY["queue_id"], LogRow.queue_id == queue_id
    )
    return _newest(query)


def _by_header_id(account_id: int, header_id: str) -> list[int]:
    query = select(LogRow.message_id).where(
        LogRow.account_id == account_id, NOT_EMPTY["reference"], LogRow.reference == header_id
    )
    return _newest(query)


def _newest(query: Select[int]) -> list[int]:
    return list(db.session.scalars(query.order_by(LogRow.message_id.desc()).limit(_MAX_FOUND)))


def _count_to_domain(account_id: int, domain: str, since: datetime, limit: int) -> int:
    newest = (
        select(LogRow.created_at)
        .where(LogRow.account_id == account_id, LogRow.domain == domain)
        .order_by(LogRow.message_id.desc())
        .limit(limit)
        .subquery()
    )
    query = select(func.count()).select_from(newest).where(newest.c.created_at >= since)
    return db.session.scalar(query) or 0


def _store(change: OutcomeChange) -> None:
    row = update(LogRow).where(LogRow.message_id == change.outcome.message_id)
    values = row.values(outcome=change.after.value).execution_options(synchronize_session=False)
    db.session.execute(values)
