"""Queries of the incident pages, always within one account."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext
from sqlalchemy import select

from ..clock import start_of
from ..db import db
from ..db.prepared import PreparedStatement, bind_ids, ids_in
from ..db.transaction import current_dialect
from ..outbox.models import OutboxMessage
from ..outbox.overview import MAX_SHOWN, count_waiting
from ..outbox.queue import find_queue
from ..web.labels import DiagnosisView, diagnosis_view
from ..web.pagination import Count, Page, capped, newest_first
from ..web.translations import translated
from . import presenter
from .models import EndReason, Incident, IncidentEvent, IncidentKind, IncidentMessage, TimelineKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime, tzinfo

KIND_LABELS = {
    IncidentKind.SENDING: lazy_gettext("Sending"),
    IncidentKind.RECIPIENTS: lazy_gettext("Recipients"),
    IncidentKind.DEADLINE: lazy_gettext("Deadline"),
    IncidentKind.DOMAIN: lazy_gettext("Domain"),
    IncidentKind.WORKER: lazy_gettext("Worker"),
    IncidentKind.BOUNCES: lazy_gettext("Bounces"),
    IncidentKind.SIGN_UPS: lazy_gettext("Sign-ups"),
    IncidentKind.MAILBOX: lazy_gettext("Mailbox for bounces"),
}
_TIMELINE_TEXTS = {
    TimelineKind.OPENED: lazy_gettext("Incident started."),
    TimelineKind.REOPENED: lazy_gettext("Incident returned."),
    TimelineKind.FAILOVER: lazy_gettext("The platform’s server took over sending."),
    TimelineKind.FAILBACK: lazy_gettext("Your own server sends emails again."),
    TimelineKind.STOPPED: lazy_gettext("Automatic attempts stopped, as you chose."),
}
_LISTED_MESSAGES = 20  # on an incident's page
_LISTED_EVENTS = 100
_CLOSED_PAGE_SIZE = 20
CHART_DAYS = 30
_MAX_IN_CHART = 500


@dataclass(frozen=True)
class IncidentTimelineEntry:
    """One entry of an incident's timeline, ready to be shown."""

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
    diagnosis: DiagnosisView | None
    timeline: list[IncidentTimelineEntry]
    messages: list[OutboxMessage]
    waiting: Count
    on_hold: bool

    @property
    def hidden(self) -> int:
        """Number of messages that the page does not list."""
        return max(0, self.row.messages - len(self.messages))


def list_open(account_id: int) -> Sequence[Incident]:
    """Return the open incidents, those that block the queue first."""
    return list_open_of([account_id]).get(account_id, ())


def list_open_of(account_ids: Sequence[int]) -> Mapping[int, Sequence[Incident]]:
    """Return the open incidents of each account that has any, those that block the queue first."""
    dialect = current_dialect()
    found = defaultdict(list)
    open_ids = [id_ for (id_,) in _open_of(dialect).all(ids=bind_ids(account_ids, dialect))]
    if open_ids:  # as a rule there is none, and every page asks
        query = select(Incident).where(Incident.id.in_(open_ids))
        for incident in db.session.scalars(query.order_by(Incident.blocks_queue.desc(), Incident.id.desc())):
            found[incident.account_id].append(incident)
    return found


@cache
def _open_of(dialect: str) -> PreparedStatement:
    of_accounts = ids_in(Incident.account_id, "ids", dialect)
    return PreparedStatement(select(Incident.id).where(of_accounts, Incident.is_open))


def list_closed(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of the closed incidents, newest first."""
    query = select(Incident).where(Incident.account_id == account_id, Incident.is_open.is_(False))
    return newest_first(query, Incident.id, before=before, after=after, size=_CLOSED_PAGE_SIZE)


def days_of_incidents(account_id: int, zone: tzinfo, *, now: datetime) -> list[tuple[date, int, timedelta]]:
    """Return each of the last 30 days in a zone with its number of incidents and their time added up.

    Of an incident that came back, only the last time counts. At most ``_MAX_IN_CHART`` incidents are read.
    """
    row, today = Incident, now.astimezone(zone).date()
    first = today - timedelta(days=CHART_DAYS - 1)
    times = select(row.episode_started_at, row.closed_at).where(row.account_id == account_id)
    newest = db.session.execute(times.order_by(row.id.desc()).limit(_MAX_IN_CHART)).all()
    found = []
    for number in range(CHART_DAYS):
        day = first + timedelta(days=number)
        start, end = start_of(day, zone), start_of(day + timedelta(days=1), zone)
        parts = [min(closed or now, end) - max(began, start) for began, closed in newest]
        parts = [part for part in parts if part >= timedelta()]
        found.append((day, len(parts), sum(parts, timedelta())))
    return found


def find(account_id: int, incident_id: int) -> Incident | None:
    """Return an incident of this account, or None. Incidents of other accounts are not found."""
    query = select(Incident).where(Incident.id == incident_id, Incident.account_id == account_id)
    return db.session.scalar(query)


def read_page(incident: Incident) -> IncidentPage:
    """Return everything that the page of an incident shows."""
    queue = find_queue(incident.account_id)
    return IncidentPage(
        row=incident,
        title=_capitalize(
            presenter.title(incident, 0) if incident.is_open else presenter.past_title(incident)
        ),
        sentence=presenter.sentence(incident),
        kind=KIND_LABELS[incident.kind],
        diagnosis=diagnosis_view(incident.diagnosis),
        timeline=_timeline(incident),
        messages=_messages(incident),
        waiting=capped(count_waiting(incident.account_id, MAX_SHOWN + 1), MAX_SHOWN)
        if incident.is_open
        else Count(0),
        on_hold=queue is not None and queue.held_at is not None,
    )


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _timeline(incident: Incident) -> list[IncidentTimelineEntry]:
    query = select(IncidentEvent).where(IncidentEvent.incident_id == incident.id)
    events = db.session.scalars(query.order_by(IncidentEvent.id.desc()).limit(_LISTED_EVENTS))
    return [_entry(event) for event in events]


def _entry(event: IncidentEvent) -> IncidentTimelineEntry:
    match event.kind:
        case TimelineKind.ENDED:
            return IncidentTimelineEntry(
                event.at, presenter.END_LABELS.get(EndReason(event.text), _("Incident over.")), "passed"
            )
        case TimelineKind.ALERTED:
            began = event.text == "opened"
            text = _("We alerted you that it started.") if began else _("We told you that it is over.")
            return IncidentTimelineEntry(event.at, text, "info")
        case TimelineKind.NOT_ALERTED:
            return IncidentTimelineEntry(event.at, translated(event.text), "warning")
        case TimelineKind.RELEASED:
            return IncidentTimelineEntry(
                event.at, _("You released %(emails)s.", emails=_emails(event.text)), "info"
            )
        case TimelineKind.DISCARDED:
            return IncidentTimelineEntry(
                event.at, _("You discarded %(emails)s.", emails=_emails(event.text)), "warning"
            )
        case TimelineKind.OPENED | TimelineKind.REOPENED:
            return IncidentTimelineEntry(event.at, _TIMELINE_TEXTS[event.kind], "failed")
    return IncidentTimelineEntry(event.at, _TIMELINE_TEXTS[event.kind], "info")


def _messages(incident: Incident) -> list[OutboxMessage]:
    query = (
        select(OutboxMessage)
        .join(IncidentMessage, IncidentMessage.message_id == OutboxMessage.id)
        .where(IncidentMessage.incident_id == incident.id, OutboxMessage.account_id == incident.account_id)
        .order_by(OutboxMessage.id.desc())
        .limit(_LISTED_MESSAGES)
    )
    return list(db.session.scalars(query))


def _emails(stored: str) -> str:
    """Return a stored number of emails, such as "2 emails", in the language of the page."""
    number = stored.partition(" ")[0]
    return ngettext("%(num)s email", "%(num)s emails", int(number)) if number.isdecimal() else stored
