"""The log as a table for a spreadsheet, in batches: any size in little memory, and nobody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from ..db import db, read_only
from ..notices.catalogue import CATALOGUE
from ..outbox.models import DeliveryAttempt, OutboxMessage
from ..web.csv import csv_header, csv_lines
from . import search
from .models import DeliveryLine
from .query_plan import plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .filters import Filters

BATCH = 1000
HEAD = (
    "id", "owed_at", "settled_at", "status", "notice", "notice_name", "recipient", "recipient_name", "subject",
    "message_id", "attempts", "settings_version", "server", "reply_code", "enhanced_code", "reply", "queue_id",
)  # fmt: skip


def lines(account_id: int, filters: Filters) -> Iterator[str]:
    """Write the matching messages as CSV, newest first, some at a time."""
    yield csv_header(HEAD)
    for rows in batches(account_id, filters):
        if rows:
            yield csv_lines(rows)


def batches(account_id: int, filters: Filters) -> Iterator[list[Any]]:
    """Yield the rows, each batch read in a short transaction of its own."""
    before: int | None = None
    while True:
        with read_only():
            asked = plan(account_id, filters)
            found = search.find(asked, before=before, size=BATCH)
            rows = _rows(found.idents)
            db.session.rollback()
        yield rows
        if len(found.idents) == BATCH:
            before = found.idents[-1]
        elif found.seen_to is not None:
            before = found.seen_to
        else:
            return


def file_name(slug: str, now: datetime) -> str:
    return f"{slug}-deliveries-{now:%Y-%m-%d}.csv"


def _rows(idents: list[int]) -> list[Any]:
    line, row, tried = DeliveryLine, OutboxMessage, DeliveryAttempt
    last = and_(tried.message_id == line.message_id, tried.number == line.attempt)
    query = (
        select(
            row.id, row.created_at, row.settled_at, row.status, row.kind, row.recipient, row.recipient_name,
            row.subject, row.message_id, line.attempt, tried.version_number, tried.server, tried.reply_code,
            tried.enhanced_code, tried.reply_text, line.queue_id,
        )
        .join(line, line.message_id == row.id)
        .outerjoin(tried, last)
        .where(row.id.in_(idents))
        .order_by(row.id.desc())
    )  # fmt: skip
    return [_named(found) for found in db.session.execute(query)]


def _named(found: Any) -> list[Any]:
    values = list(found)
    notice = CATALOGUE.get(found.kind)
    values.insert(5, notice.name if notice else "")
    return values
