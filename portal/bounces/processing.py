"""The worker's job: matches recorded events with messages, and lets them count.

Events of one account are processed one batch after the other, so that two workers never decide about one mailbox at once.
An event may arrive before the message's own acceptance is committed: then it is looked up again, for an hour.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError

from ..clock import utcnow
from ..db import db
from . import erased_persons, event_log, matching, outcomes, suppressing
from .models import BounceEvent, EventState
from .recording import JOB

if TYPE_CHECKING:
    from ..outbox.models import OutboxMessage
    from .outcomes import OutcomeChange

_log = logging.getLogger(__name__)
_BATCH = 100  # events in one transaction
_MAX_BATCHES = 50  # of one job; the sweep goes on
_JOBS_PER_SWEEP = 50
_RETRY_DELAYS = tuple(timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 1800))
_GIVE_UP_AFTER = timedelta(hours=1)


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the accounts with events that are due."""
    query = select(BounceEvent.account_id).where(
        BounceEvent.next_at <= now, BounceEvent.state == EventState.WAITING
    )
    query = query.distinct()
    return [(JOB, account_id) for account_id in db.session.scalars(query.limit(_JOBS_PER_SWEEP))]


def process(account_id: int) -> None:
    """Process the due events of one account. Commits each batch."""
    for _ in range(_MAX_BATCHES):
        if not _process_batch(account_id, utcnow()):
            return


def _process_batch(account_id: int, now: datetime) -> bool:
    """Process one batch; return whether there may be more. Commits."""
    outcomes.lock_account(account_id)
    query = select(BounceEvent).where(
        BounceEvent.account_id == account_id,
        BounceEvent.next_at <= now,
        BounceEvent.state == EventState.WAITING,
    )
    events = db.session.scalars(query.order_by(BounceEvent.next_at, BounceEvent.id).limit(_BATCH)).all()
    changes = [_process_one(event, now) for event in events]
    _end_batch(account_id, [change for change in changes if change is not None])
    db.session.commit()
    return len(events) == _BATCH


def _process_one(event: BounceEvent, now: datetime) -> OutcomeChange | None:
    """Match one event; return the change of an outcome. An internal error sets it aside, so that the others still count."""
    try:
        with db.session.begin_nested():
            message = matching.find_message(event)
            if message is not None:
                return _apply(event, message, now)
            _retry(event, now)
    except (OperationalError, InterfaceError):  # of the database, not of this event
        raise
    except Exception:
        _log.exception("processing bounce event %s failed", event.id)
        event.state, event.next_at = EventState.UNMATCHED, None
    return None


def _apply(event: BounceEvent, message: OutboxMessage, now: datetime) -> OutcomeChange | None:
    event.state, event.message_id, event.next_at = EventState.MATCHED, message.id, None
    change = outcomes.join(event, message, now=now)
    suppressing.apply(event, message, now=now)
    event_log.drop_surplus(message.id)
    return change


def _end_batch(account_id: int, changes: list[OutcomeChange]) -> None:
    """Notify the listeners of batches. An internal error in one must not hold up the events."""
    try:
        with db.session.begin_nested():
            outcomes.end_batch(account_id, (change.after for change in changes))
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        _log.exception("what follows from a batch of bounce events of account %s failed", account_id)


def _retry(event: BounceEvent, now: datetime) -> None:
    event.tries += 1
    if matching.is_final(event) or now > event.received_at + _GIVE_UP_AFTER:
        event.state, event.next_at = EventState.UNMATCHED, None
        erased_persons.blank(event)
    else:
        event.next_at = now + _RETRY_DELAYS[min(event.tries, len(_RETRY_DELAYS)) - 1]
