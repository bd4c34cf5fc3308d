"""Refused rows of the job store: logged and listed without their content, and counted for the metrics.

A row is refused if it is no job of this version: a job of another version during an upgrade, or something that another
program wrote. The count of the last day lies in the rate-limit table, so that every process shows the same value. At most
_LISTED of a day are stored for the operator's page, so that a flood fills no table.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from .. import rate_limit
from ..clock import utcnow
from ..db import db
from .heartbeat import process_name
from .models import RefusedRow

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask
    from sqlalchemy import Select

RETENTION = timedelta(days=30)
_COUNTED = rate_limit.RateLimit("refused jobs", 2**31 - 1, timedelta(days=1))  # counts, and limits nothing
_LISTED = rate_limit.RateLimit("listed refused jobs", 200, timedelta(days=1))

_log = logging.getLogger(__name__)


def record(app: Flask, queue: str, reason: str) -> None:
    """Log, count and list one refused row of a queue. Never raises: the worker goes on with the next row."""
    _log.warning("refused a row of the job queue %s: %s", queue, reason)
    try:
        with app.app_context():
            now = utcnow()
            rate_limit.consume(_COUNTED, now=now)
            if rate_limit.consume(_LISTED, now=now):
                row = RefusedRow(queue=queue, reason=reason[:100], worker=process_name()[:120])
                row.refused_at = now
                db.session.add(row)
            db.session.commit()
    except SQLAlchemyError:  # the row is logged; it is counted only while the database answers
        _log.warning("a refused row of the job queue %s could not be counted", queue)


def count(now: datetime) -> int:
    """Return how many rows were refused within the last day."""
    return rate_limit.used(_COUNTED, now=now)


def listed() -> Select[RefusedRow]:
    """Return the query for the stored refused rows."""
    return select(RefusedRow)


def delete_old(now: datetime) -> None:
    """Delete the rows that were refused longer than RETENTION ago. Commits."""
    db.session.execute(delete(RefusedRow).where(RefusedRow.refused_at < now - RETENTION))
    db.session.commit()
