"""Telling an owner: once when trouble begins and once when it is over, by email and by webhook.

Emails go to every mailbox that gets the notices to the owner: colleagues who cannot log in read the same words,
and the link in them asks for a log-in.

An alert is due by its row, so that it is sent by whichever worker comes by, and never twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from .. import rate_limit
from ..accounts.models import Account
from ..clock import utcnow
from ..db import db
from ..notices import recipients
from ..outbox.overview import count_waiting
from ..outbox.queue import enqueue_row, get_queue
from ..state import current_config
from . import alert_emails, lifecycle, policy, presenter, webhooks
from .models import Happening, Incident

if TYPE_CHECKING:
    from collections.abc import Iterator

DAILY = rate_limit.Budget("incident-alerts", 20, timedelta(days=1))
NO_PLATFORM = "The alert could not be mailed: this portal has no sender of its own."
SWITCHED_OFF = "No alert was sent: alerts are switched off."
TOO_MANY = "No alert was sent: twenty were sent today."


def due(now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of alerts whose time has come, for the sweep."""
    query = select(Incident.id).where(or_(Incident.alert_at <= now, Incident.recovery_at <= now)).limit(50)
    return [("alert", ident) for ident in db.session.scalars(query)]


def send(ident: int) -> None:
    """Send the alerts that are due about one incident. Commits. Safe to repeat."""
    now = utcnow()
    account_id = db.session.scalar(select(Incident.account_id).where(Incident.id == ident))
    if account_id is None:
        db.session.rollback()
        return
    get_queue(account_id, lock=True)
    incident = db.session.get_one(Incident, ident, populate_existing=True)
    if incident.alert_at is not None and incident.alert_at <= now:
        _tell(incident, "opened", now)
        incident.alert_at, incident.alerted_at = None, now
        incident.alert_count += 1
    elif incident.recovery_at is not None and incident.recovery_at <= now:
        _tell(incident, "ended", now)
        incident.recovery_at = incident.alerted_at = None
    db.session.commit()


def _tell(incident: Incident, what: str, now: datetime) -> None:
    account = db.session.get_one(Account, incident.account_id)
    chosen = policy.of(account.id)
    note = ""
    if not (chosen.email_alerts or chosen.webhook_enabled):
        note = SWITCHED_OFF
    elif not rate_limit.spend(DAILY, account.id, now=now):
        note = TOO_MANY
    else:
        note = _send(incident, account, what, by_mail=chosen.email_alerts, now=now)
    incident.alert_note = note
    lifecycle.happened(incident, Happening.NOT_ALERTED if note else Happening.ALERTED, note or what, now=now)


def _send(incident: Incident, account: Account, what: str, *, by_mail: bool, now: datetime) -> str:
    """Owe the mails and the POST; return why no mail could be sent, if so."""
    count = count_waiting(account.id)
    key = f"incident:{incident.id}:{incident.episodes}:{what}"
    webhooks.owe(
        account.id, key, f"incident.{what}", presenter.payload(incident, account.slug, count), now=now
    )
    if not by_mail:
        return ""
    if not current_config().platform.server:
        return NO_PLATFORM
    told = presenter.tell(incident, account.name, count)
    link = f"{current_config().base_url}/incidents/{incident.id}"
    for mailbox, own_key in _mailboxes(account, key):
        if what == "opened":
            mail = alert_emails.opened(told, mailbox, own_key, link)
        else:
            mail = alert_emails.ended(told, mailbox, own_key, link, now=now)
        enqueue_row(None, mail, now=now)
    return ""


def _mailboxes(account: Account, key: str) -> Iterator[tuple[str, str]]:
    """Yield every mailbox of the owner's, each with its own key of an alert: it gets the same one once."""
    for mailbox, _ in recipients.recipients_of(account):
        yield mailbox, f"{key}:{sha256(mailbox.casefold().encode()).hexdigest()[:24]}"
