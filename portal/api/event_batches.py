"""Many events in one request: each has a key and a result of its own, so that a bad one harms no other."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError

from .. import rate_limit
from ..db import db
from . import ingest
from .openapi_parts import KEY_PATTERN
from .problems import FieldError, Problem, ProblemKind
from .validation import invalid

if TYPE_CHECKING:
    from datetime import datetime

MAX_EVENTS = 100
MAX_BODY_BYTES = 256 * 1024
REQUEST_LIMIT = rate_limit.RateLimit("api batches by token", 60, timedelta(minutes=1))
_KEY = "idempotency_key"
_KEY_PATTERN = re.compile(KEY_PATTERN[:-1] + r"\Z")
_log = logging.getLogger(__name__)


def ingest_batch(account_id: int, body: Any, *, now: datetime) -> dict[str, Any]:
    """Record each event of a batch as ``ingest_event`` does, in their order. Commits each. Raises Problem.

    Only a body that is no batch is refused as a whole.
    """
    events = body.get("events") if isinstance(body, dict) and set(body) == {"events"} else None
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        message = f'A batch is an object: {{"events": […]}}, with 1 to {MAX_EVENTS} events.'
        raise invalid([FieldError("#/events", message)])
    return {"results": [_ingest_one(account_id, event, now) for event in events]}


def _ingest_one(account_id: int, event: Any, now: datetime) -> dict[str, Any]:
    try:
        key, one = _split(event)
        result = ingest.ingest_event(account_id, one, key=key, now=now)
    except Problem as problem:
        db.session.rollback()
        return {"status": problem.status, "problem": problem.as_json()}
    except OperationalError:  # the database is busy
        db.session.rollback()
        return _failure(ProblemKind.BUSY)
    except Exception:
        db.session.rollback()
        _log.exception("an event of a batch caused an internal error")
        return _failure(ProblemKind.FAILED)
    return {"status": 200 if result.replayed else 201, "result": result.response}


def _failure(kind: ProblemKind) -> dict[str, Any]:
    problem = Problem(kind)
    return {"status": problem.status, "problem": problem.as_json()}


def _split(event: Any) -> tuple[str, Any]:
    """Return the key of an event and the event without it. Raises Problem."""
    if not isinstance(event, dict):
        raise invalid([FieldError("#", "An event is an object.")])
    key = event.get(_KEY)
    if not isinstance(key, str) or not _KEY_PATTERN.match(key):
        detail = f"Each event of a batch has an {_KEY} of 1 to 100 letters, digits and signs."
        raise Problem(ProblemKind.KEY_MISSING, detail, [FieldError(f"#/{_KEY}", detail)])
    return key.strip('"'), {name: value for name, value in event.items() if name != _KEY}
