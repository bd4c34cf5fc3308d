"""Alerts to the owner, once when an incident starts and once when it ends, by email and by webhook.

Emails go to every mailbox that gets the notices to the owner, in the contact's language; the link in them requires a
login. They hold counts and causes: no password, no email's text, no affiliate's address. An alert is due by its
incident's row, so any worker can send it, and it is sent once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import or_, select

from .. import rate_limit
from ..accounts.emails import letter
from ..accounts.models import Account
from ..clock import utcnow
from ..db import db
from ..notices import recipients
from ..outbox.overview import count_waiting
from ..outbox.queue import NewMessage, enqueue_row, get_queue
from ..state import current_config
from ..web.filters import format_time
from ..web.translations import speaking_to
from . import lifecycle, policy, presenter, webhooks
from .models import NO_PLATFORM, SWITCHED_OFF, TOO_MANY, Incident, TimelineKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .presenter import IncidentSummary

DAILY_LIMIT = rate_limit.RateLimit("incident-alerts", 20, timedelta(days=1))
_OPENED, _ENDED = "opened", "ended"
_SUBJECT_CHARS = 200


def find_due_work(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the alerts that are due."""
    query = select(Incident.id).where(or_(Incident.alert_at <= now, Incident.recovery_at <= now)).limit(50)
    return [("alert", incident_id) for incident_id in db.session.scalars(query)]


def send(incident_id: int) -> None:
    """Send the due alert of one incident. Commits. Safe to repeat."""
    now = utcnow()
    account_id = db.session.scalar(select(Incident.account_id).where(Incident.id == incident_id))
    if account_id is None:
        db.session.rollback()
        return
    get_queue(account_id, lock=True)
    incident = db.session.get_one(Incident, incident_id, populate_existing=True)
    if incident.alert_at is not None and incident.alert_at <= now:
        _alert(incident, _OPENED, now)
        incident.alert_at, incident.alerted_at = None, now
        incident.alert_count += 1
    elif incident.recovery_at is not None and incident.recovery_at <= now:
        _alert(incident, _ENDED, now)
        incident.recovery_at = incident.alerted_at = None
    db.session.commit()


def _alert(incident: Incident, event: str, now: datetime) -> None:
    """Enqueue an alert, or record on the incident why none was sent."""
    account = db.session.get_one(Account, incident.account_id)
    chosen = policy.get(account.id)
    if not (chosen.email_alerts or chosen.webhook_enabled):
        note = SWITCHED_OFF
    elif not rate_limit.consume(DAILY_LIMIT, account.id, now=now):
        note = TOO_MANY
    else:
        note = _enqueue(incident, account, event, by_email=chosen.email_alerts, now=now)
    incident.alert_note = note
    kind = TimelineKind.NOT_ALERTED if note else TimelineKind.ALERTED
    lifecycle.add_timeline_entry(incident, kind, note or event, now=now)


def _enqueue(incident: Incident, account: Account, event: str, *, by_email: bool, now: datetime) -> str:
    """Enqueue the emails and the webhook delivery; return why no email could be sent, or an empty text."""
    count = count_waiting(account.id)
    key = f"incident:{incident.id}:{incident.episodes}:{event}"
    with speaking_to(recipients.owner_language(account)):
        webhooks.enqueue(
            account.id, key, f"incident.{event}", presenter.payload(incident, account.slug, count), now=now
        )
        if not by_email:
            return ""
        if not current_config().platform.server:
            return NO_PLATFORM
        summary = presenter.summarize(incident, account.name, count)
        link = f"{current_config().base_url}/incidents/{incident.id}"
        for mailbox, mailbox_key in _mailboxes(account, key):
            if event == _OPENED:
                email = _opened_email(summary, mailbox, mailbox_key, link)
            else:
                email = _ended_email(summary, mailbox, mailbox_key, link, now=now)
            enqueue_row(None, email, now=now)
    return ""


def _mailboxes(account: Account, key: str) -> Iterator[tuple[str, str]]:
    """Yield the owner's mailboxes, each with its own message key, so that each gets an alert once."""
    for one in recipients.recipients_of(account, confirmed=True):
        yield one.mailbox, f"{key}:{sha256(one.mailbox.casefold().encode()).hexdigest()[:24]}"


def _opened_email(summary: IncidentSummary, mailbox: str, key: str, link: str) -> NewMessage:
    """Return the email about an incident's start: what is wrong, who can fix it, and what to do."""
    waiting = ngettext(
        "%(num)s email waits until this is fixed.",
        "%(num)s emails wait until this is fixed.",
        summary.waiting,
    )
    text = letter(
        _("Something is wrong with the automated emails of %(programme)s:", programme=summary.programme),
        summary.sentence,
        *((waiting,) if summary.waiting else ()),
        summary.move,
        *((_("What to do: %(fix)s", fix=summary.fix),) if summary.fix else ()),
        _("Since: %(time)s", time=format_time(summary.since)) + "\n" + _details(link),
        summary.meanwhile,
    )
    return _email("incident-opened", key, mailbox, f"{summary.programme}: {summary.title}", text)


def _ended_email(summary: IncidentSummary, mailbox: str, key: str, link: str, *, now: datetime) -> NewMessage:
    """Return the email about an incident's end."""
    text = letter(
        _("This problem ended at %(time)s:", time=format_time(summary.closed_at or now)),
        summary.sentence,
        *((summary.outcome,) if summary.outcome else ()),
        _details(link),
    )
    return _email("incident-ended", key, mailbox, f"{summary.programme}: {summary.end_title}", text)


def _details(link: str) -> str:
    return _("Details, once you are logged in: %(link)s", link=link)


def _email(kind: str, key: str, mailbox: str, subject: str, text: str) -> NewMessage:
    return NewMessage(kind=kind, key=key, recipient=mailbox, subject=subject[:_SUBJECT_CHARS], text=text)
