"""Whether the portal can do its work. What is wrong is said in words that give nothing away."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from ..db import db, readiness, reading
from ..jobs import heartbeat
from ..state import vault

_GOOD_FOR = timedelta(seconds=2)  # a crowd of probes asks the database once
_KEY = "signet.readiness"


def look(now: datetime) -> dict[str, str]:
    """Return what is wrong, by what it is about; nothing when all is well."""
    kept = current_app.extensions.get(_KEY)
    if kept is not None and timedelta(0) <= now - kept[0] < _GOOD_FOR:
        return dict(kept[1])
    wrong = _look(now)
    current_app.extensions[_KEY] = (now, wrong)
    return dict(wrong)


def _look(now: datetime) -> dict[str, str]:
    try:
        with reading():
            return _judge(now)
    except SQLAlchemyError:
        return {"database": "The database does not answer."}
    finally:
        db.session.rollback()


def _judge(now: datetime) -> dict[str, str]:
    if not readiness.is_current():
        return {"migrations": "The tables are not up to date. Run: python -m portal.bootstrap"}
    wrong = {}
    if not readiness.keys_open(vault()):
        wrong["keys"] = "The keys do not open what this database holds. Look at SIGNET_KEYS."
    if heartbeat.is_worker_missing(now):
        wrong["worker"] = "No worker was seen within the last minute. Start one with: flask worker"
    return wrong
