"""Texts of an incident: cause, whose move it is, and fixes, for pages, alerts and webhooks. No HTTP, no secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from ..web.diagnosis_words import cause_and_fixes
from ..web.labels import MOVES_IN_ALERTS
from .bounces import BLOCKED, COMPLAINTS, MASS_REFUSALS, UNKNOWN_RATE
from .models import EndReason, Incident, IncidentKind

if TYPE_CHECKING:
    from datetime import datetime

END_LABELS = {
    EndReason.FLOWS: lazy_gettext(
        "The server accepts emails again. Emails that waited have been sent or are being sent now."
    ),
    EndReason.PROVED: lazy_gettext(
        "The server accepts our log-in again. We tested this without sending an email."
    ),
    EndReason.REPLACED: lazy_gettext("Newer settings work and are now live."),
    EndReason.OVER: lazy_gettext("It ended without your help."),
    EndReason.DECIDED: lazy_gettext("You have decided what happens to these addresses."),
    EndReason.READABLE: lazy_gettext("Signet reads the mailbox for bounces again."),
    EndReason.REMOVED: lazy_gettext("The mailbox for bounces was removed, so Signet no longer reads it."),
}
_WORD = re.compile(r"[^\s<>()\"',;]+")
_NOTHING_LOST = lazy_gettext(
    "No email is lost: Signet sends waiting emails automatically once sending works again."
)
_NO_MOVE = lazy_gettext("It is not clear yet who can fix this.")
_MEANWHILE = {
    IncidentKind.SENDING: _NOTHING_LOST,
    IncidentKind.RECIPIENTS: lazy_gettext("The delivery log shows each refused email with the reason."),
    IncidentKind.DEADLINE: lazy_gettext("This does not stop emails yet."),
    IncidentKind.DOMAIN: lazy_gettext("Emails are still sent, but they may not arrive."),
    IncidentKind.WORKER: _NOTHING_LOST,
    IncidentKind.SIGN_UPS: lazy_gettext("Your affiliates and your emails are not affected."),
    IncidentKind.MAILBOX: lazy_gettext(
        "This does not stop emails. Bounces stay in the mailbox, and Signet reads them later."
    ),
    IncidentKind.BOUNCES: lazy_gettext(
        "This does not stop emails. The delivery log shows what happened to each."
    ),
}
_PAST_TITLES = {
    IncidentKind.RECIPIENTS: lazy_gettext("very many emails were refused"),
    IncidentKind.DEADLINE: lazy_gettext("a deadline was close"),
    IncidentKind.DOMAIN: lazy_gettext("your domain’s DNS records had a new problem"),
    IncidentKind.WORKER: lazy_gettext("no emails could be sent for a while"),
    IncidentKind.SIGN_UPS: lazy_gettext("very many people signed up at once"),
    IncidentKind.MAILBOX: lazy_gettext("your mailbox for bounces could not be read"),
}
# Of bounces by cause: of an open incident, and of a closed one.
_BOUNCE_TITLES = {
    COMPLAINTS: (
        lazy_gettext("too many recipients report your emails as spam"),
        lazy_gettext("too many recipients reported your emails as spam"),
    ),
    UNKNOWN_RATE: (lazy_gettext("too many emails bounce"), lazy_gettext("too many emails bounced")),
    BLOCKED: (lazy_gettext("a receiver blocks your emails"), lazy_gettext("a receiver blocked your emails")),
    MASS_REFUSALS: (
        lazy_gettext("a receiver reports very many unknown mailboxes"),
        lazy_gettext("a receiver reported very many unknown mailboxes"),
    ),
}


@dataclass(frozen=True)
class IncidentSummary:
    """The content of an alert. It contains no address of an affiliate."""

    programme: str
    title: str
    end_title: str
    sentence: str
    move: str
    fix: str
    since: datetime
    closed_at: datetime | None
    waiting: int
    meanwhile: str
    outcome: str


def summarize(incident: Incident, programme: str, waiting: int) -> IncidentSummary:
    """Return the content of an alert about an incident."""
    diagnosis = incident.diagnosis
    is_sending = incident.kind in (IncidentKind.SENDING, IncidentKind.WORKER)
    fixes = cause_and_fixes(diagnosis)[1] if diagnosis.get("cause") else []
    return IncidentSummary(
        programme=programme,
        title=title(incident, waiting),
        end_title=_("sending works again") if is_sending else _("the problem is over"),
        sentence=redact_mailboxes(sentence(incident)),
        move=str(MOVES_IN_ALERTS.get(str(diagnosis.get("whose_move")), _NO_MOVE)),
        fix=redact_mailboxes(fixes[0] if fixes else ""),
        since=incident.episode_started_at,
        closed_at=incident.closed_at,
        waiting=waiting,
        meanwhile=str(_MEANWHILE[incident.kind]),
        outcome=str(END_LABELS.get(incident.ended, "")),
    )


def title(incident: Incident, waiting: int) -> str:
    """Return the title of an open incident: its effect on the emails."""
    match incident.kind:
        case IncidentKind.SENDING if waiting:
            return ngettext("%(num)s email is waiting", "%(num)s emails are waiting", waiting)
        case IncidentKind.SENDING if incident.blocks_queue:
            return _("your mail server refuses to send")
        case IncidentKind.SENDING:
            return _("your mail server has a problem")
        case IncidentKind.RECIPIENTS:
            return _("very many emails are refused")
        case IncidentKind.DEADLINE:
            return _("a deadline is close")
        case IncidentKind.DOMAIN:
            return _("your domain’s DNS records have a new problem")
        case IncidentKind.BOUNCES:
            return str(_BOUNCE_TITLES[incident.cause][0])
        case IncidentKind.SIGN_UPS:
            return str(_("very many people sign up at once"))
        case IncidentKind.MAILBOX:
            return str(_("your mailbox for bounces cannot be read"))
    return _("no emails could be sent for a while")


def past_title(incident: Incident) -> str:
    """Return the title of a closed incident."""
    if incident.kind is IncidentKind.SENDING:
        return (
            _("your mail server refused to send")
            if incident.blocks_queue
            else _("your mail server had a problem")
        )
    if incident.kind is IncidentKind.BOUNCES:
        return str(_BOUNCE_TITLES[incident.cause][1])
    return str(_PAST_TITLES[incident.kind])


def sentence(incident: Incident) -> str:
    """Return the cause, with the server's reply code if there is one."""
    cause = _cause(incident)
    if incident.reply_code is None:
        return cause
    return f"{cause.rstrip('.')} ({incident.reply_code})."


def payload(incident: Incident, slug: str, waiting: int) -> dict[str, Any]:
    """Return the webhook payload: counts and causes only."""
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


def redact_mailboxes(text: str) -> str:
    """Replace every email address: a username, or an affiliate's address in a server's reply."""
    return _WORD.sub(lambda word: _("that address") if "@" in word.group()[1:-1] else word.group(), text)


def _cause(incident: Incident) -> str:
    """Return the cause that the incident's diagnosis states, in the language of the page."""
    if not incident.diagnosis.get("cause"):
        return _("Something went wrong.")
    return cause_and_fixes(incident.diagnosis)[0]
