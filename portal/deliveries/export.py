"""CSV export of the log, in batches: constant memory for any size, and no long transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from ..bounces.models import REFUSED_AT_ONCE, MessageOutcome
from ..db import db, read_only
from ..notices.catalogue import CATALOGUE
from ..outbox.models import DeliveryAttempt, OutboxMessage
from ..web.csv import csv_header, csv_lines
from . import search
from .models import LogRow
from .query_plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .filters import Filters

BATCH = 1000
HEAD = (
    "id", "owed_at", "settled_at", "status", "notice", "notice_name", "recipient", "recipient_name", "subject",
    "message_id", "attempts", "settings_version", "server", "reply_code", "enhanced_code", "reply", "queue_id",
    "outcome", "outcome_at", "outcome_code", "outcome_reason", "outcome_source",
)  # fmt: skip


def csv_chunks(account_id: int, filters: Filters) -> Iterator[str]:
    """Yield the matching messages as CSV, newest first, one batch at a time."""
    yield csv_header(HEAD)
    for rows in batches(account_id, filters):
        if rows:
            yield csv_lines(rows)


def batches(account_id: int, filters: Filters) -> Iterator[list[Any]]:
    """Yield the rows in batches, each read in a short transaction of its own."""
    before: int | None = None
    while True:
        with read_only():
            plan = make_plan(account_id, filters)
            found = search.find(plan, before=before, size=BATCH)
            rows = _rows(found.message_ids)
            db.session.rollback()
        yield rows
        if len(found.message_ids) == BATCH:
            before = found.message_ids[-1]
        elif found.seen_to is not None:
            before = found.seen_to
        else:
            return


def file_name(slug: str, now: datetime) -> str:
    return f"{slug}-deliveries-{now:%Y-%m-%d}.csv"


def _rows(message_ids: list[int]) -> list[Any]:
    log, row, attempt, outcome = LogRow, OutboxMessage, DeliveryAttempt, MessageOutcome
    last = and_(attempt.message_id == log.message_id, attempt.number == log.attempt)
    query = (
        select(
            row.id, row.created_at, row.settled_at, row.status, row.kind, row.recipient, row.recipient_name,
            row.subject, row.message_id, log.attempt, attempt.version_number, attempt.server, attempt.reply_code,
            attempt.enhanced_code, attempt.reply_text, log.queue_id,
            outcome.meaning, outcome.occurred_at, outcome.status, outcome.reason, outcome.source,
        )
        .join(log, log.message_id == row.id)
        .outerjoin(attempt, last)
        .outerjoin(outcome, and_(outcome.message_id == row.id, outcome.source != REFUSED_AT_ONCE))
        .where(row.id.in_(message_ids))
        .order_by(row.id.desc())
    )  # fmt: skip
    return [_named(row) for row in db.session.execute(query)]


def _named(row: Any) -> list[Any]:
    values = list(row)
    notice = CATALOGUE.get(row.kind)
    values.insert(5, notice.name if notice else "")
    return values
