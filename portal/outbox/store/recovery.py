"""Recovery: applies the acceptance logs of crashed workers, retries failed releases, repairs times after a clock step.

A worker runs it as it starts, periodically, and before each drain.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from ...db import db
from ...db.transaction import db_now
from ...state import current_config
from ..diagnoses import KEY_MISSING
from ..models import ConnectionLease, OutboxMessage, Queue, Status
from . import acceptance_log, claims, leases

_log = logging.getLogger(__name__)
# Diagnoses of holds that a restart may end, as a key may have been restored: such queues send a probe at once.
_ENDED_BY_RESTART = (KEY_MISSING["code"], "password-not-openable", "no-platform-sender")
_last_seen: list[tuple[float, datetime]] = []  # monotonic time and the database's time, at the last sweep


def on_start() -> None:
    """Recover orphaned logs, schedule probes that a restart may fix, and repair due times. Errors are logged. Commits.

    A worker often replaces one that crashed, whose leases end soon, so the logs come first. A database error is no reason
    not to start: the first sweep meets it again.
    """
    try:
        recover_orphaned()
        now = db_now()
        for queue in db.session.scalars(select(Queue).where(Queue.held_at.is_not(None)).with_for_update()):
            if (queue.hold_diagnosis or {}).get("code") in _ENDED_BY_RESTART:
                queue.next_probe_at = now
        db.session.commit()
        _repair_times(now)
    except Exception:
        db.session.rollback()
        _log.exception("recovery failed as the worker started; the next sweep tries again")


def sweep() -> None:
    """Recover orphaned logs, retry failed releases, and repair times if the database's clock was set back. Commits."""
    recover_orphaned()
    leases.retry_releases(release_drain)
    monotonic, now = time.monotonic(), db_now()
    db.session.rollback()
    step = timedelta(seconds=current_config().tuning.clock_step_s)
    if _last_seen and now - _last_seen[0][1] < timedelta(seconds=monotonic - _last_seen[0][0]) - step:
        _log.warning("the database's clock was set back; due times are repaired")
        _repair_times(now)
    _last_seen[:] = [(monotonic, now)]


def on_stop() -> None:
    """Close this process's acceptance log, whose entries are settled by now."""
    acceptance_log.current_log().close()


def recover_orphaned() -> int:
    """Apply the acceptance logs of ended processes and release their leases and unstarted claims.

    Returns how many messages turned out to be accepted. Commits.
    """
    count = 0
    for entries in acceptance_log.orphaned_entries():
        now = db_now()
        count += len(claims.apply_log(entries, now))
        for token in {entry["token"] for entry in entries}:
            lease = db.session.get(ConnectionLease, token)
            if lease is not None:
                _release(lease.account_id, token)
        db.session.commit()
    if count:
        _log.info("%s messages that a crashed worker had submitted were recorded as accepted", count)
    return count


def release_drain(account_id: int, token: str) -> None:
    """Release the lease and the unstarted claims of a drain of this process that ended early. Commits.

    Its log entries are applied first: a message whose acceptance is not in the table yet must not be released.
    """
    log, now = acceptance_log.current_log(), db_now()
    claims.apply_log(log.open_entries(token), now)
    _release(account_id, token)
    db.session.commit()
    log.discard_token(token)


def release_drain_or_defer(account_id: int, token: str) -> None:
    """Release a drain as ``release_drain`` does; if the database is away, a later sweep does it."""
    try:
        release_drain(account_id, token)
    except SQLAlchemyError:
        db.session.rollback()
        leases.defer_release(account_id, token)


def _release(account_id: int, token: str) -> None:
    claims.release_all(account_id, token)
    leases.release(token)


def _repair_times(now: datetime) -> None:
    """Make messages, pauses and probes due whose time is implausibly far ahead, as the clock was set back. Commits.

    A message that was never tried is due from the time it was enqueued, so a later time is wrong. Pauses and probes end
    at once if they are further ahead than the longest delay. Leases that end too far ahead count as over anyway.
    """
    tuning = current_config().tuning
    pause, probe = (
        timedelta(seconds=one) for one in (tuning.pause_implausible_s, tuning.probe_implausible_s)
    )
    fresh = (
        OutboxMessage.status == Status.QUEUED,
        OutboxMessage.attempts == 0,
        OutboxMessage.next_attempt_at > now,
    )
    db.session.execute(update(OutboxMessage).where(*fresh).values(next_attempt_at=now))
    db.session.execute(update(Queue).where(Queue.paused_until > now + pause).values(paused_until=now))
    db.session.execute(update(Queue).where(Queue.next_probe_at > now + probe).values(next_probe_at=now))
    db.session.commit()
