"""What a worker mends between two looks for work: what the dead left behind, and what a clock set back."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import select, update

from ...db import db
from ...db.transaction import db_now
from ..diagnoses import KEY_MISSING
from ..models import OutboxMessage, Queue, Status
from . import acceptance_log, connection_leases, recovery

_log = logging.getLogger(__name__)
_STEP = timedelta(seconds=20)  # by which the database's clock may differ from what has passed, unnoticed
# What a restart may have mended: a key that was put back. Such queues are tried at once.
_MENDED_BY_RESTART = (KEY_MISSING["code"], "password-not-openable", "no-platform-sender")
_seen: list[tuple[float, datetime]] = []


def begin() -> None:
    """Look once as the worker starts. Trouble with the database is left to the first beat."""
    try:
        now = db_now()
        for queue in db.session.scalars(select(Queue).where(Queue.held_at.is_not(None)).with_for_update()):
            if (queue.hold_diagnosis or {}).get("code") in _MENDED_BY_RESTART:
                queue.next_probe_at = now
        db.session.commit()
        _undo_a_step_back(now)
    except Exception:
        db.session.rollback()
        _log.exception("the worker could not look around as it started")


def mend() -> None:
    """Settle by journals that were left, give back slots that could not be, and see whether a clock was set."""
    recovery.settle_the_dead()
    connection_leases.clear_leftovers(recovery.give_back)
    passed, now = time.monotonic(), db_now()
    db.session.rollback()
    if _seen and now - _seen[0][1] < timedelta(seconds=passed - _seen[0][0]) - _STEP:
        _log.warning("the database's clock was set back; what is due is looked at anew")
        _undo_a_step_back(now)
    _seen[:] = [(passed, now)]


def end() -> None:
    """Take leave: what the journal holds is in the table by now."""
    acceptance_log.of_this_process().close()


def _undo_a_step_back(now: datetime) -> None:
    """Let nothing wait for a moment that was only ever meant to be the present. Commits.

    Messages never tried are due as soon as they are owed; leases too far ahead count as lapsed anyway.
    """
    fresh = (
        OutboxMessage.status == Status.QUEUED,
        OutboxMessage.attempts == 0,
        OutboxMessage.next_attempt_at > now,
    )
    db.session.execute(update(OutboxMessage).where(*fresh).values(next_attempt_at=now))
    db.session.execute(
        update(Queue).where(Queue.paused_until > now + timedelta(minutes=40)).values(paused_until=now)
    )
    db.session.execute(
        update(Queue).where(Queue.next_probe_at > now + timedelta(minutes=70)).values(next_probe_at=now)
    )
    db.session.commit()
