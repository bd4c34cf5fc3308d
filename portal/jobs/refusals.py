"""Refused rows of the job store: logged without their content, and counted for the metrics.

A row is refused if it is no job of this version: a job of another version during an upgrade, or something that another
program wrote. The count of the last day lies in the rate-limit table, so that every process shows the same value.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from .. import rate_limit
from ..clock import utcnow
from ..db import db

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

_COUNTED = rate_limit.RateLimit("refused jobs", 2**31 - 1, timedelta(days=1))  # counts, and limits nothing

_log = logging.getLogger(__name__)


def record(app: Flask, queue: str, reason: str) -> None:
    """Log and count one refused row of a queue. Never raises: the worker goes on with the next row."""
    _log.warning("refused a row of the job queue %s: %s", queue, reason)
    try:
        with app.app_context():
            rate_limit.consume(_COUNTED, now=utcnow())
            db.session.commit()
    except SQLAlchemyError:  # the row is logged; it is counted only while the database answers
        _log.warning("a refused row of the job queue %s could not be counted", queue)


def count(now: datetime) -> int:
    """Return how many rows were refused within the last day."""
    return rate_limit.used(_COUNTED, now=now)
