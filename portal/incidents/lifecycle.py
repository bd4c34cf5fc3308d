"""Failures become incidents: the first opens one, the others make it grow. Each works inside the caller's transaction.

Whoever changes an account's incidents holds the lock of its queue, so that two workers never open the same
one twice; the partial unique index would refuse it anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..db import db, insert
from ..jobs import notify
from ..outbox.queue import get_queue
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.protocol.reply import plain_text
from . import open_cache
from .models import Ended, Happening, Incident, IncidentEvent, IncidentMessage, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

FLAPPING = timedelta(minutes=30)  # what comes back so soon is the same trouble
_SETTLE = timedelta(minutes=1)  # an end is believed, and told, when it lasted so long
# How long trouble lasts before it is worth a mail. What only the owner can mend is told at once.
_PATIENCE = {
    RetryClass.SETTINGS: timedelta(),
    RetryClass.SERVER: timedelta(minutes=10),
    RetryClass.RATE: timedelta(hours=1),
}
_KEPT = ("code", "kind", "cause", "whose_move", "fixes", "field", "retry_class")


@dataclass(frozen=True)
class Trouble:
    """A failure of an account, as far as an incident wants to know it."""

    account_id: int
    kind: Kind
    diagnosis: Mapping[str, Any]
    server: str = ""
    version_number: int | None = None
    message_id: int | None = None
    stage: str = ""
    reply_code: int | None = None
    words: str = ""  # the server's last
    patience: timedelta | None = None  # before it is told; empty: by what the diagnosis says

    @property
    def cause(self) -> str:
        return str(self.diagnosis.get("code") or "unknown")[:80]

    @property
    def stops(self) -> bool:
        """Whether nothing leaves until it is mended. A way that does not exist has no class, and stops, too."""
        return self.kind is Kind.SENDING and self._class in (RetryClass.SETTINGS, None)

    @property
    def told_after(self) -> timedelta:
        if self.patience is not None:
            return self.patience
        return _PATIENCE.get(self._class or RetryClass.SETTINGS, _PATIENCE[RetryClass.SERVER])

    @property
    def _class(self) -> RetryClass | None:
        name = self.diagnosis.get("retry_class")
        return RetryClass(name) if name else None


def note(trouble: Trouble, *, now: datetime) -> Incident:
    """Open the incident a trouble belongs to, or let it grow. The caller commits."""
    get_queue(trouble.account_id, lock=True)
    incident = _newest(trouble)
    if incident is None or not (incident.is_open or _is_fresh(incident, now)):
        incident = _open(trouble, now)
    elif not incident.is_open:
        _reopen(incident, trouble, now)
    _grow(incident, trouble, now)
    open_cache.remember(trouble.account_id)
    return incident


def close(incident: Incident, how: Ended, *, now: datetime) -> None:
    """End an incident; its end is told if its beginning was. The caller holds the queue's lock and commits."""
    incident.is_open, incident.closed_at, incident.ended = False, now, how
    incident.alert_at = None
    if incident.alerted_at is not None:
        incident.recovery_at = now if how is Ended.REPLACED else now + _SETTLE
        if incident.recovery_at <= now:
            notify.push_after_commit("alert", incident.id)
    happened(incident, Happening.ENDED, how.value, now=now)


def happened(incident: Incident, what: Happening, words: str = "", *, now: datetime) -> None:
    """Add a line to the timeline."""
    db.session.add(IncidentEvent(incident_id=incident.id, at=now, kind=what, text=words[:300]))


def open_ones(account_id: int, *, lock: bool = False) -> list[Incident]:
    """Return the account's open incidents, the oldest first; ``lock`` makes others wait who would change them."""
    if lock:
        get_queue(account_id, lock=True)
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open)
    options = {"populate_existing": lock}
    return list(db.session.scalars(query.order_by(Incident.id), execution_options=options))


def _newest(trouble: Trouble) -> Incident | None:
    query = (
        select(Incident)
        .where(
            Incident.account_id == trouble.account_id,
            Incident.cause == trouble.cause,
            Incident.server == trouble.server,
        )
        .order_by(Incident.is_open.desc(), Incident.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return db.session.scalar(query)


def _is_fresh(incident: Incident, now: datetime) -> bool:
    return incident.closed_at is not None and incident.closed_at > now - FLAPPING


def _open(trouble: Trouble, now: datetime) -> Incident:
    incident = Incident(
        account_id=trouble.account_id,
        kind=trouble.kind,
        cause=trouble.cause,
        server=trouble.server,
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
        ended=Ended.OPEN,
    )
    incident.alert_at = now + trouble.told_after
    db.session.add(incident)
    db.session.flush()
    happened(incident, Happening.OPENED, now=now)
    _announce(incident, now)
    return incident


def _reopen(incident: Incident, trouble: Trouble, now: datetime) -> None:
    """Go on with an incident that seemed over. Its end, if not told yet, never happened; if it was told,

    nobody is told again unless the trouble stays."""
    told_its_end = incident.alerted_at is None and incident.recovery_at is None and incident.alert_count > 0
    incident.is_open, incident.closed_at, incident.ended = True, None, Ended.OPEN
    incident.episodes += 1
    incident.episode_started_at, incident.recovery_at = now, None
    if incident.alerted_at is None:
        incident.alert_at = now + max(trouble.told_after, FLAPPING if told_its_end else timedelta())
        _announce(incident, now)
    happened(incident, Happening.REOPENED, now=now)


def _announce(incident: Incident, now: datetime) -> None:
    if incident.alert_at is not None and incident.alert_at <= now:
        notify.push_after_commit("alert", incident.id)


def _grow(incident: Incident, trouble: Trouble, now: datetime) -> None:
    incident.last_seen_at, incident.version_number = now, trouble.version_number
    incident.diagnosis = {name: trouble.diagnosis[name] for name in _KEPT if name in trouble.diagnosis}
    incident.stage, incident.blocks_queue = trouble.stage, trouble.stops
    incident.reply_code, incident.last_reply = trouble.reply_code, plain_text(trouble.words, 500)
    if trouble.message_id is not None:
        incident.attempts += 1
        incident.messages += _is_new(incident.id, trouble.message_id)


def _is_new(incident_id: int, message_id: int) -> int:
    row = insert(IncidentMessage).values(incident_id=incident_id, message_id=message_id)
    made = db.session.execute(row.on_conflict_do_nothing().returning(IncidentMessage.message_id))
    return int(made.scalar_one_or_none() is not None)
