"""Whether the portal can do its work. What is wrong is said in words that give nothing away."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from ..db import db, read_only, readiness
from ..jobs import heartbeat
from ..state import get_state, vault

_GOOD_FOR = timedelta(seconds=2)  # a crowd of probes asks the database once


@dataclass
class ReadinessCache:
    """The last answer, so that frequent probes query the database once."""

    checked_at: datetime | None = None
    problems: dict[str, str] = field(default_factory=dict)


def look(now: datetime) -> dict[str, str]:
    """Return what is wrong, by what it is about; nothing when all is well."""
    kept = get_state().part(ReadinessCache)
    if kept.checked_at is not None and timedelta(0) <= now - kept.checked_at < _GOOD_FOR:
        return dict(kept.problems)
    wrong = _look(now)
    kept.checked_at, kept.problems = now, wrong
    return dict(wrong)


def _look(now: datetime) -> dict[str, str]:
    try:
        with read_only():
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
