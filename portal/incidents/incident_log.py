"""What the pages show of incidents: queries, always within one account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..db import db
from ..outbox.models import OutboxMessage, Queue
from ..outbox.overview import count_waiting
from ..settings.routing import live_version
from ..web.labels import DiagnosisView, diagnosis_view
from ..web.pagination import Page, newest_first
from . import presenter
from .models import Ended, Happening, Incident, IncidentEvent, IncidentMessage, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from ..settings.models import SmtpSettings

KINDS = {
    Kind.SENDING: "Sending",
    Kind.RECIPIENTS: "Recipients",
    Kind.DEADLINE: "Deadline",
    Kind.DOMAIN: "Domain",
    Kind.WORKER: "Worker",
}
_HAPPENED = {
    Happening.OPENED: "It began.",
    Happening.REOPENED: "It came back.",
    Happening.DETOUR: "Emails leave through the platform’s server from now on.",
    Happening.DETOUR_ENDED: "Emails leave through your own server again.",
    Happening.STOPPED: "Nothing is tried by itself any more, as you chose.",
}
_SHOWN = 20  # messages on an incident's page


@dataclass(frozen=True)
class Line:
    """One line of the timeline."""

    at: datetime
    text: str
    tone: str


@dataclass(frozen=True)
class Shown:
    """One incident, ready to be shown."""

    row: Incident
    title: str
    sentence: str
    kind: str
    trouble: DiagnosisView | None
    timeline: list[Line]
    messages: list[OutboxMessage]
    waiting: int
    stopped: bool
    detour: datetime | None
    lasted: timedelta

    @property
    def hidden(self) -> int:
        """How many messages the page does not list."""
        return max(0, self.row.messages - len(self.messages))


def open_ones(account_id: int) -> Sequence[Incident]:
    """Return the open incidents, those that stop all mail first."""
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open)
    return db.session.scalars(query.order_by(Incident.blocks_queue.desc(), Incident.id.desc())).all()


def history(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of those that are over, newest first."""
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open.is_(False))
    return newest_first(query, Incident.id, before=before, after=after, size=20)


def find(account_id: int, ident: int) -> Incident | None:
    """Return one incident of this account; somebody else's is not found."""
    return db.session.scalar(select(Incident).where(Incident.id == ident, Incident.account_id == account_id))


def show(incident: Incident, *, now: datetime) -> Shown:
    """Collect the page of one incident."""
    live = live_version(incident.account_id)
    queue = queue_row(incident.account_id)
    return Shown(
        row=incident,
        title=_capital(presenter.title(incident, 0) if incident.is_open else presenter.past_title(incident)),
        sentence=presenter.sentence(incident),
        kind=KINDS[incident.kind],
        trouble=diagnosis_view(incident.diagnosis),
        timeline=_timeline(incident),
        messages=_messages(incident),
        waiting=count_waiting(incident.account_id) if incident.is_open else 0,
        stopped=queue is not None and queue.held_at is not None,
        detour=live.failover_since if live else None,
        lasted=presenter.lasted(incident, now),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def queue_row(account_id: int) -> Queue | None:
    """Return the account's queue, if anything was ever sent; makes no row."""
    return db.session.get(Queue, account_id)


def live(account_id: int) -> SmtpSettings | None:
    return live_version(account_id)


def _timeline(incident: Incident) -> list[Line]:
    query = select(IncidentEvent).where(IncidentEvent.incident_id == incident.id)
    events = db.session.scalars(query.order_by(IncidentEvent.id.desc()).limit(100))
    return [_line(event) for event in events]


def _line(event: IncidentEvent) -> Line:
    match event.kind:
        case Happening.ENDED:
            return Line(event.at, presenter.ENDINGS.get(Ended(event.text), "It is over."), "passed")
        case Happening.ALERTED:
            what = "its beginning" if event.text == "opened" else "its end"
            return Line(event.at, f"You were told of {what}.", "info")
        case Happening.NOT_ALERTED:
            return Line(event.at, event.text, "warning")
        case Happening.RELEASED:
            return Line(event.at, f"You released the queue, with {event.text}.", "info")
        case Happening.DISCARDED:
            return Line(event.at, f"You discarded {event.text}.", "warning")
        case Happening.OPENED | Happening.REOPENED:
            return Line(event.at, _HAPPENED[event.kind], "failed")
    return Line(event.at, _HAPPENED[event.kind], "info")


def _messages(incident: Incident) -> list[OutboxMessage]:
    query = (
        select(OutboxMessage)
        .join(IncidentMessage, IncidentMessage.message_id == OutboxMessage.id)
        .where(IncidentMessage.incident_id == incident.id, OutboxMessage.account_id == incident.account_id)
        .order_by(OutboxMessage.id.desc())
        .limit(_SHOWN)
    )
    return list(db.session.scalars(query))
