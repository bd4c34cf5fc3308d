"""An owner's word about emails that wait: let them go, or never send those that have grown too old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update

from ..db import db
from ..outbox import cancellations
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import get_queue
from ..settings.versions import release_queue
from . import lifecycle
from .models import IncidentKind, TimelineKind

AGES = {1: "1 hour", 6: "6 hours", 24: "1 day", 72: "3 days", 168: "7 days"}  # hours -> words
_WAITING = (Status.HELD, Status.QUEUED)


@dataclass(frozen=True)
class HeldMail:
    """What waits. ``older`` counts those of a chosen age and beyond."""

    count: int
    oldest: datetime | None
    older: int

    @property
    def newer(self) -> int:
        return self.count - self.older


def count_held(account_id: int, hours: int, *, now: datetime) -> HeldMail:
    """Count what waits."""
    mine = _held(account_id)
    query = select(func.count(), func.min(OutboxMessage.created_at)).where(*mine)
    count, oldest = db.session.execute(query).one()
    old = select(func.count()).where(*mine, _older_than(hours, now))
    return HeldMail(count, oldest, db.session.scalar(old) or 0)


def release(account_id: int, *, now: datetime) -> int:
    """Let the queue move at once, whatever stopped it; return how many waited. Commits."""
    get_queue(account_id, lock=True)
    count = count_held(account_id, 0, now=now).count
    _add_timeline_entries(account_id, TimelineKind.RELEASED, _many(count), now)
    release_queue(account_id, now)
    db.session.commit()
    return count


def discard(account_id: int, hours: int, *, by: str, release_rest: bool, now: datetime) -> int:
    """Cancel what has waited longer than ``hours``, with the reason; return how many. Commits.

    What is being sent at this moment is left alone. With ``release_rest`` the others may go at once.
    """
    get_queue(account_id, lock=True)
    query = select(OutboxMessage.id).where(*_held(account_id), _older_than(hours, now)).with_for_update()
    idents = list(db.session.scalars(query))
    why = f"{by} discarded it because it had waited longer than {AGES[hours]}."
    for at in range(0, len(idents), 500):
        _cancel(idents[at : at + 500], why, now)
    _add_timeline_entries(account_id, TimelineKind.DISCARDED, _many(len(idents)), now)
    if release_rest:
        release_queue(account_id, now)
    db.session.commit()
    return len(idents)


def _held(account_id: int) -> list[ColumnElement[bool]]:
    return [
        OutboxMessage.account_id == account_id,
        OutboxMessage.status.in_(_WAITING),
        OutboxMessage.forced_version_id.is_(None),
        OutboxMessage.is_test.is_(False),
        OutboxMessage.lease_token.is_(None),
    ]


def _older_than(hours: int, now: datetime) -> ColumnElement[bool]:
    return OutboxMessage.created_at < now - timedelta(hours=hours)


def _cancel(idents: list[int], why: str, now: datetime) -> None:
    statement = update(OutboxMessage).where(OutboxMessage.id.in_(idents))
    values = {"status": Status.CANCELLED, "settled_at": now}
    db.session.execute(statement.values(values).execution_options(synchronize_session=False))
    cancellations.record_reason(idents, why, now=now)


def _add_timeline_entries(account_id: int, what: TimelineKind, words: str, now: datetime) -> None:
    for incident in lifecycle.open_incidents(account_id):
        if incident.kind is IncidentKind.SENDING:
            lifecycle.add_timeline_entry(incident, what, words, now=now)


def _many(count: int) -> str:
    return "1 email" if count == 1 else f"{count} emails"
