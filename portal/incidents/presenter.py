"""An incident in plain words: what happened, whose move it is, what to do. No HTTP, nothing secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..web.labels import MOVE_LABELS_IN_ALERTS
from .models import EndReason, Incident, IncidentKind

if TYPE_CHECKING:
    from datetime import datetime, timedelta

ENDINGS = {
    EndReason.FLOWS: "The server accepts emails again; those that waited have left or are leaving now.",
    EndReason.PROVED: "The server lets us in again, as a log-in without sending proved.",
    EndReason.REPLACED: "Other settings, which work, have taken over.",
    EndReason.OVER: "It ended by itself.",
}
_MAILBOX = re.compile(r"[^\s<>()\"',;]+@[^\s<>()\"',;]+")
_WAITS = "Nothing is lost: emails that wait leave by themselves as soon as sending works again."
_MEANWHILE = {
    IncidentKind.SENDING: _WAITS,
    IncidentKind.RECIPIENTS: "Each refused email stands in the delivery log with its reason.",
    IncidentKind.DEADLINE: "Emails still leave as always.",
    IncidentKind.DOMAIN: "Emails still leave, but may not arrive.",
    IncidentKind.WORKER: _WAITS,
}
_PAST = {
    IncidentKind.RECIPIENTS: "very many emails were refused",
    IncidentKind.DEADLINE: "something was about to end",
    IncidentKind.DOMAIN: "your domain’s records had become worse",
    IncidentKind.WORKER: "no email could leave for a while",
}


@dataclass(frozen=True)
class IncidentSummary:
    """What an alert says. Nothing in it names an affiliate."""

    programme: str
    title: str
    sentence: str
    move: str
    fix: str
    since: datetime
    closed_at: datetime | None
    waiting: int
    meanwhile: str
    outcome: str


def summarize(incident: Incident, programme: str, waiting: int) -> IncidentSummary:
    """Put an incident into the words of an alert."""
    diagnosis = incident.diagnosis
    return IncidentSummary(
        programme=programme,
        title=title(incident, waiting),
        sentence=redact_mailboxes(sentence(incident)),
        move=MOVE_LABELS_IN_ALERTS.get(str(diagnosis.get("whose_move")), "nobody’s yet"),
        fix=redact_mailboxes(str((diagnosis.get("fixes") or [""])[0])),
        since=incident.episode_started_at,
        closed_at=incident.closed_at,
        waiting=waiting,
        meanwhile=_MEANWHILE[incident.kind],
        outcome=ENDINGS.get(incident.ended, ""),
    )


def title(incident: Incident, waiting: int) -> str:
    """Return a subject line: what it means for the emails."""
    match incident.kind:
        case IncidentKind.SENDING if waiting:
            return "1 email waits" if waiting == 1 else f"{waiting} emails wait"
        case IncidentKind.SENDING if incident.blocks_queue:
            return "your mail server refuses to send"
        case IncidentKind.SENDING:
            return "your mail server is in trouble"
        case IncidentKind.RECIPIENTS:
            return "very many emails are refused"
        case IncidentKind.DEADLINE:
            return "something ends soon"
        case IncidentKind.DOMAIN:
            return "your domain’s records became worse"
    return "no email could leave for a while"


def past_title(incident: Incident) -> str:
    """Return the heading of what is over."""
    if incident.kind is IncidentKind.SENDING:
        return (
            "your mail server refused to send" if incident.blocks_queue else "your mail server was in trouble"
        )
    return _PAST[incident.kind]


def sentence(incident: Incident) -> str:
    """Return the cause, with the code the server said it by."""
    cause = str(incident.diagnosis.get("cause") or "Something went wrong.")
    if incident.reply_code is None:
        return cause
    return f"{cause.rstrip('.')} ({incident.reply_code})."


def payload(incident: Incident, slug: str, waiting: int) -> dict[str, Any]:
    """Return what is posted to the owner's address: counts and causes only."""
    return {
        "account": slug,
        "incident": {
            "id": incident.id,
            "kind": incident.kind.value,
            "code": incident.cause,
            "cause": redact_mailboxes(sentence(incident)),
            "whose_move": incident.diagnosis.get("whose_move"),
            "server": incident.server,
            "open": incident.is_open,
            "opened_at": incident.opened_at.isoformat(),
            "last_seen_at": incident.last_seen_at.isoformat(),
            "closed_at": incident.closed_at.isoformat() if incident.closed_at else None,
            "ended": incident.ended.value or None,
            "attempts": incident.attempts,
            "messages": incident.messages,
            "waiting": waiting,
        },
    }


def duration(incident: Incident, now: datetime) -> timedelta:
    """Return how long it has been open, or was."""
    return (incident.closed_at or now) - incident.opened_at


def redact_mailboxes(text: str) -> str:
    """Take every address out: a log-in's name, or an affiliate's in a server's words."""
    return _MAILBOX.sub("that address", text)
