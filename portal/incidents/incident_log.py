"""What the pages show of incidents: queries, always within one account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..db import db
from ..outbox.models import OutboxMessage
from ..outbox.overview import count_waiting
from ..outbox.queue import find_queue
from ..settings.routing import live_version
from ..web.labels import DiagnosisView, diagnosis_view
from ..web.pagination import Page, newest_first
from . import presenter
from .models import EndReason, Incident, IncidentEvent, IncidentKind, IncidentMessage, TimelineKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta


KINDS = {
    IncidentKind.SENDING: "Sending",
    IncidentKind.RECIPIENTS: "Recipients",
    IncidentKind.DEADLINE: "Deadline",
    IncidentKind.DOMAIN: "Domain",
    IncidentKind.WORKER: "Worker",
}
_TIMELINE_TEXTS = {
    TimelineKind.OPENED: "It began.",
    TimelineKind.REOPENED: "It came back.",
    TimelineKind.DETOUR: "Emails leave through the platform’s server from now on.",
    TimelineKind.DETOUR_ENDED: "Emails leave through your own server again.",
    TimelineKind.STOPPED: "Nothing is tried by itself any more, as you chose.",
}
_LISTED_MESSAGES = 20  # messages on an incident's page


@dataclass(frozen=True)
class TimelineLine:
    """One line of the timeline."""

    at: datetime
    text: str
    tone: str


@dataclass(frozen=True)
class IncidentPage:
    """One incident, ready to be shown."""

    row: Incident
    title: str
    sentence: str
    kind: str
    trouble: DiagnosisView | None
    timeline: list[TimelineLine]
    messages: list[OutboxMessage]
    waiting: int
    stopped: bool
    detour: datetime | None
    lasted: timedelta

    @property
    def hidden(self) -> int:
        """How many messages the page does not list."""
        return max(0, self.row.messages - len(self.messages))


def list_open(account_id: int) -> Sequence[Incident]:
    """Return the open incidents, those that stop all mail first."""
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open)
    return db.session.scalars(query.order_by(Incident.blocks_queue.desc(), Incident.id.desc())).all()


def list_closed(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of those that are over, newest first."""
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open.is_(False))
    return newest_first(query, Incident.id, before=before, after=after, size=20)


def find(account_id: int, ident: int) -> Incident | None:
    """Return one incident of this account; somebody else's is not found."""
    return db.session.scalar(select(Incident).where(Incident.id == ident, Incident.account_id == account_id))


def read_page(incident: Incident, *, now: datetime) -> IncidentPage:
    """Collect the page of one incident."""
    live = live_version(incident.account_id)
    queue = find_queue(incident.account_id)
    return IncidentPage(
        row=incident,
        title=_capitalize(
            presenter.title(incident, 0) if incident.is_open else presenter.past_title(incident)
        ),
        sentence=presenter.sentence(incident),
        kind=KINDS[incident.kind],
        trouble=diagnosis_view(incident.diagnosis),
        timeline=_timeline(incident),
        messages=_messages(incident),
        waiting=count_waiting(incident.account_id) if incident.is_open else 0,
        stopped=queue is not None and queue.held_at is not None,
        detour=live.failover_since if live else None,
        lasted=presenter.duration(incident, now),
    )


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _timeline(incident: Incident) -> list[TimelineLine]:
    query = select(IncidentEvent).where(IncidentEvent.incident_id == incident.id)
    events = db.session.scalars(query.order_by(IncidentEvent.id.desc()).limit(100))
    return [_line(event) for event in events]


def _line(event: IncidentEvent) -> TimelineLine:
    match event.kind:
        case TimelineKind.ENDED:
            return TimelineLine(
                event.at, presenter.ENDINGS.get(EndReason(event.text), "It is over."), "passed"
            )
        case TimelineKind.ALERTED:
            what = "its beginning" if event.text == "opened" else "its end"
            return TimelineLine(event.at, f"You were told of {what}.", "info")
        case TimelineKind.NOT_ALERTED:
            return TimelineLine(event.at, event.text, "warning")
        case TimelineKind.RELEASED:
            return TimelineLine(event.at, f"You released the queue, with {event.text}.", "info")
        case TimelineKind.DISCARDED:
            return TimelineLine(event.at, f"You discarded {event.text}.", "warning")
        case TimelineKind.OPENED | TimelineKind.REOPENED:
            return TimelineLine(event.at, _TIMELINE_TEXTS[event.kind], "failed")
    return TimelineLine(event.at, _TIMELINE_TEXTS[event.kind], "info")


def _messages(incident: Incident) -> list[OutboxMessage]:
    query = (
        select(OutboxMessage)
        .join(IncidentMessage, IncidentMessage.message_id == OutboxMessage.id)
        .where(IncidentMessage.incident_id == incident.id, OutboxMessage.account_id == incident.account_id)
        .order_by(OutboxMessage.id.desc())
        .limit(_LISTED_MESSAGES)
    )
    return list(db.session.scalars(query))
