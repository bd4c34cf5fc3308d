"""Incident lifecycle: a failure opens an incident or extends it; it is closed, and reopened if the failure returns.

All functions work inside the caller's transaction. Code that changes an account's incidents holds the lock of the
account's queue, so two workers never open the same incident; the partial unique index enforces it as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..db import db, insert
from ..jobs import notify
from ..outbox.queue import get_queue
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.protocol.reply import plain_text
from ..state import get_state
from .models import EndReason, Incident, IncidentEvent, IncidentKind, IncidentMessage, TimelineKind

if TYPE_CHECKING:
    from collections.abc import Mapping

REOPEN_WITHIN = timedelta(minutes=30)  # a failure that returns within this time reopens its incident
_RECOVERY_DELAY = timedelta(minutes=1)  # an incident stays closed this long before its end is announced
# How long an incident lasts before its first alert. There is no delay for what only the owner can fix.
_ALERT_DELAYS = {
    RetryClass.SETTINGS: timedelta(),
    RetryClass.SERVER: timedelta(minutes=10),
    RetryClass.RATE: timedelta(hours=1),
}
_STORED_KEYS = ("code", "kind", "cause", "whose_move", "fixes", "field", "retry_class")  # of a diagnosis
_CACHE_S = 1.0
_LAST_REPLY_CHARS = 500
_TIMELINE_TEXT_CHARS = 300


@dataclass(frozen=True)
class Failure:
    """One failure of an account, with what its incident stores of it."""

    account_id: int
    kind: IncidentKind
    diagnosis: Mapping[str, Any]
    server: str = ""
    version_number: int | None = None
    message_id: int | None = None
    stage: str = ""
    reply_code: int | None = None
    reply_text: str = ""
    alert_delay: timedelta | None = None  # None: decided by the diagnosis

    @property
    def cause(self) -> str:
        return str(self.diagnosis.get("code") or "unknown")[:80]

    @property
    def blocks_queue(self) -> bool:
        """Whether no email can leave until this is fixed. A missing route has no retry class and blocks as well."""
        return self.kind is IncidentKind.SENDING and self._retry_class in (RetryClass.SETTINGS, None)

    @property
    def alert_after(self) -> timedelta:
        if self.alert_delay is not None:
            return self.alert_delay
        return _ALERT_DELAYS.get(self._retry_class or RetryClass.SETTINGS, _ALERT_DELAYS[RetryClass.SERVER])

    @property
    def _retry_class(self) -> RetryClass | None:
        name = self.diagnosis.get("retry_class")
        return RetryClass(name) if name else None


def record_failure(failure: Failure, *, now: datetime) -> Incident:
    """Open the incident of a failure, or extend or reopen the one there is. The caller commits."""
    get_queue(failure.account_id, lock=True)
    incident = _find_newest(failure)
    if incident is None or not (incident.is_open or _ended_recently(incident, now)):
        incident = _open(failure, now)
    elif not incident.is_open:
        _reopen(incident, failure, now)
    _extend(incident, failure, now)
    _open_kinds().found.add((failure.account_id, incident.kind))
    return incident


def close(incident: Incident, reason: EndReason, *, now: datetime) -> None:
    """Close an incident. Its end is announced only if its start was.

    The caller holds the queue's lock and commits.
    """
    incident.is_open, incident.closed_at, incident.ended = False, now, reason
    incident.alert_at = None
    if incident.alerted_at is not None:
        incident.recovery_at = now if reason is EndReason.REPLACED else now + _RECOVERY_DELAY
        if incident.recovery_at <= now:
            notify.push_after_commit("alert", incident.id)
    add_timeline_entry(incident, TimelineKind.ENDED, reason.value, now=now)


def add_timeline_entry(incident: Incident, kind: TimelineKind, text: str = "", *, now: datetime) -> None:
    """Add an entry to the incident's timeline. The caller commits."""
    entry = IncidentEvent(incident_id=incident.id, at=now, kind=kind, text=text[:_TIMELINE_TEXT_CHARS])
    db.session.add(entry)


def open_incidents(account_id: int, *, lock: bool = False) -> list[Incident]:
    """Return the account's open incidents, oldest first. ``lock`` locks the queue before it reads them."""
    if lock:
        get_queue(account_id, lock=True)
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open)
    options = {"populate_existing": lock}
    return list(db.session.scalars(query.order_by(Incident.id), execution_options=options))


def _find_newest(failure: Failure) -> Incident | None:
    query = (
        select(Incident)
        .where(
            Incident.account_id == failure.account_id,
            Incident.cause == failure.cause,
            Incident.server == failure.server,
        )
        .order_by(Incident.is_open.desc(), Incident.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return db.session.scalar(query)


def _ended_recently(incident: Incident, now: datetime) -> bool:
    return incident.closed_at is not None and incident.closed_at > now - REOPEN_WITHIN


def _open(failure: Failure, now: datetime) -> Incident:
    incident = Incident(
        account_id=failure.account_id,
        kind=failure.kind,
        cause=failure.cause,
        server=failure.server,
        diagnosis={},
        opened_at=now,
        episode_started_at=now,
        last_seen_at=now,
        attempts=0,
        messages=0,
        is_open=True,
        episodes=1,
        peak_waiting=0,
        alert_count=0,
        ended=EndReason.OPEN,
    )
    incident.alert_at = now + failure.alert_after
    db.session.add(incident)
    db.session.flush()
    add_timeline_entry(incident, TimelineKind.OPENED, now=now)
    _push_alert(incident, now)
    return incident


def _reopen(incident: Incident, failure: Failure, now: datetime) -> None:
    """Start another episode of a closed incident.

    An end that was not announced yet is not announced at all. If it was announced, the owner is alerted again only
    when the new episode lasts longer than ``REOPEN_WITHIN``.
    """
    end_was_announced = (
        incident.alerted_at is None and incident.recovery_at is None and incident.alert_count > 0
    )
    incident.is_open, incident.closed_at, incident.ended = True, None, EndReason.OPEN
    incident.episodes += 1
    incident.episode_started_at, incident.recovery_at = now, None
    if incident.alerted_at is None:
        shortest = REOPEN_WITHIN if end_was_announced else timedelta()
        incident.alert_at = now + max(failure.alert_after, shortest)
        _push_alert(incident, now)
    add_timeline_entry(incident, TimelineKind.REOPENED, now=now)


def _push_alert(incident: Incident, now: datetime) -> None:
    if incident.alert_at is not None and incident.alert_at <= now:
        notify.push_after_commit("alert", incident.id)


def _extend(incident: Incident, failure: Failure, now: datetime) -> None:
    """Store the latest failure on the incident and count its message."""
    incident.last_seen_at, incident.version_number = now, failure.version_number
    incident.diagnosis = {key: failure.diagnosis[key] for key in _STORED_KEYS if key in failure.diagnosis}
    incident.stage, incident.blocks_queue = failure.stage, failure.blocks_queue
    incident.reply_code = failure.reply_code
    incident.last_reply = plain_text(failure.reply_text, _LAST_REPLY_CHARS)
    if failure.message_id is not None:
        incident.attempts += 1
        incident.messages += _link_message(incident.id, failure.message_id)


def _link_message(incident_id: int, message_id: int) -> int:
    """Link a message to an incident; return 1 if it was not linked before, else 0."""
    row = insert(IncidentMessage).values(incident_id=incident_id, message_id=message_id)
    inserted = db.session.execute(row.on_conflict_do_nothing().returning(IncidentMessage.message_id))
    return int(inserted.scalar_one_or_none() is not None)


@dataclass
class _OpenKinds:
    """Cache of the accounts with an open incident, each with its kind, in one process, for ``_CACHE_S``."""

    read_at: float = float("-inf")
    found: set[tuple[int, IncidentKind]] = field(default_factory=set)


def has_open_incident(account_id: int, kind: IncidentKind) -> bool:
    """Whether the account may have an open incident of this kind, at most a second out of date.

    Every accepted email needs the answer, and most accounts have no incident of sending, though others may stay open for
    weeks. What the cache misses, the monitor closes. Reads within the current transaction.
    """
    cache = _open_kinds()
    if not 0 <= monotonic() - cache.read_at < _CACHE_S:
        query = select(Incident.account_id, Incident.kind).where(Incident.is_open).distinct()
        cache.found = {(account, of_kind) for account, of_kind in db.session.execute(query)}
        cache.read_at = monotonic()
    return (account_id, kind) in cache.found


def _open_kinds() -> _OpenKinds:
    return get_state().part(_OpenKinds)
