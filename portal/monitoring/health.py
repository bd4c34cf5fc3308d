"""Readiness check: database, migrations, keys and worker. Its sentences contain no detail of use to an attacker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from ..db import db, read_only, readiness
from ..jobs import heartbeat
from ..state import get_state, vault

_CACHE_LIFETIME = timedelta(seconds=2)  # frequent probes query the database once


@dataclass
class ReadinessCache:
    """The last result."""

    checked_at: datetime | None = None
    problems: dict[str, str] = field(default_factory=dict)


def find_problems(now: datetime) -> dict[str, str]:
    """Return a sentence for each problem, by its subject; empty if the portal is ready."""
    cache = get_state().part(ReadinessCache)
    if cache.checked_at is not None and timedelta(0) <= now - cache.checked_at < _CACHE_LIFETIME:
        return dict(cache.problems)
    problems = _query_problems(now)
    cache.checked_at, cache.problems = now, problems
    return dict(problems)


def _query_problems(now: datetime) -> dict[str, str]:
    try:
        with read_only():
            return _check(now)
    except SQLAlchemyError:
        return {"database": "The database does not answer."}
    finally:
        db.session.rollback()


def _check(now: datetime) -> dict[str, str]:
    if not readiness.is_current():
        return {"migrations": "The tables are not up to date. Run: python -m portal.bootstrap"}
    problems = {}
    if not readiness.keys_open(vault()):
        problems["keys"] = "The keys do not open what this database holds. Look at SIGNET_KEYS."
    if heartbeat.is_worker_missing(now):
        problems["worker"] = "No worker was seen within the last minute. Start one with: flask worker"
    return problems
