"""Held mail: count, release or discard the emails that wait in an account's queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update

from .. import audit
from ..db import db
from ..outbox import cancellations
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import get_queue
from ..settings.versions import release_queue
from . import lifecycle
from .models import IncidentKind, TimelineKind

AGES = {1: "1 hour", 6: "6 hours", 24: "1 day", 72: "3 days", 168: "7 days"}  # hours -> label
_CANCEL_BATCH = 500  # messages in one statement
_WAITING = (Status.HELD, Status.QUEUED)


@dataclass(frozen=True)
class HeldMail:
    """Counts of waiting emails. ``older`` counts those older than a chosen age."""

    count: int
    oldest: datetime | None
    older: int

    @property
    def newer(self) -> int:
        return self.count - self.older


def count_held(account_id: int, hours: int, *, now: datetime) -> HeldMail:
    """Count the waiting emails, and those older than ``hours``."""
    is_waiting = _is_waiting(account_id)
    query = select(func.count(), func.min(OutboxMessage.created_at)).where(*is_waiting)
    count, oldest = db.session.execute(query).one()
    older = select(func.count()).where(*is_waiting, _older_than(hours, now))
    return HeldMail(count, oldest, db.session.scalar(older) or 0)


def release(account_id: int, *, now: datetime) -> int:
    """Release the queue, whatever the reason for the hold; return the number of waiting emails. Commits."""
    get_queue(account_id, lock=True)
    count = count_held(account_id, 0, now=now).count
    _add_timeline_entries(account_id, TimelineKind.RELEASED, count_label(count), now)
    release_queue(account_id)
    audit.record(audit.Activity.QUEUE_RELEASED, account_id, after={"count": count})
    db.session.commit()
    return count


def discard(account_id: int, hours: int, *, by: str, release_rest: bool, now: datetime) -> int:
    """Cancel the emails that waited longer than ``hours``, with the reason; return their number. Commits.

    Emails being sent at this moment are not cancelled.

    Args:
        by: Name of the owner, for the reason.
        release_rest: Whether to release the queue afterwards.
    """
    get_queue(account_id, lock=True)
    query = (
        select(OutboxMessage.id).where(*_is_waiting(account_id), _older_than(hours, now)).with_for_update()
    )
    message_ids = list(db.session.scalars(query))
    reason = f"{by} discarded it because it had waited longer than {AGES[hours]}."
    for start in range(0, len(message_ids), _CANCEL_BATCH):
        _cancel(message_ids[start : start + _CANCEL_BATCH], reason, now)
    _add_timeline_entries(account_id, TimelineKind.DISCARDED, count_label(len(message_ids)), now)
    if release_rest:
        release_queue(account_id)
    after = {"count": len(message_ids), "hours": hours, "release_rest": release_rest}
    audit.record(audit.Activity.QUEUE_DISCARDED, account_id, after=after)
    db.session.commit()
    return len(message_ids)


def _is_waiting(account_id: int) -> list[ColumnElement[bool]]:
    return [
        OutboxMessage.account_id == account_id,
        OutboxMessage.status.in_(_WAITING),
        OutboxMessage.forced_version_id.is_(None),
        OutboxMessage.is_test.is_(False),
        OutboxMessage.lease_token.is_(None),
    ]


def _older_than(hours: int, now: datetime) -> ColumnElement[bool]:
    return OutboxMessage.created_at < now - timedelta(hours=hours)


def _cancel(message_ids: list[int], reason: str, now: datetime) -> None:
    statement = update(OutboxMessage).where(OutboxMessage.id.in_(message_ids))
    values = {"status": Status.CANCELLED, "settled_at": now}
    db.session.execute(statement.values(values).execution_options(synchronize_session=False))
    cancellations.record_reason(message_ids, reason, now=now)


def _add_timeline_entries(account_id: int, kind: TimelineKind, text: str, now: datetime) -> None:
    for incident in lifecycle.open_incidents(account_id):
        if incident.kind is IncidentKind.SENDING:
            lifecycle.add_timeline_entry(incident, kind, text, now=now)


def count_label(count: int) -> str:
    """Return the number of emails as text: "1 email", "2 emails"."""
    return "1 email" if count == 1 else f"{count} emails"
