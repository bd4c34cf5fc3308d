"""Failover: send an account's emails through the platform's server while its own server fails, and fail back.

The state is stored on the live version of the settings, so activating another version ends the failover. The incident
stays open in the meantime.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_babel import gettext as _
from sqlalchemy import select, update

from .. import audit
from ..accounts.models import Account
from ..db import db
from ..db.transaction import db_now
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Status
from ..outbox.queue import get_queue
from ..settings import login_probe
from ..settings.models import SmtpSettings
from ..settings.routing import live_version
from ..settings.versions import release_queue
from ..smtp.diagnosis.diagnose import RetryClass
from ..state import current_config
from . import lifecycle
from .models import Incident, IncidentKind, IncidentPolicy, OnFailure, TimelineKind

_PROBE_WITHIN = timedelta(seconds=30)  # the first login probe after the start of a failover


class FailoverUnavailable(Exception):
    """Failover is not possible; the message is a sentence for the page."""


def start(account_id: int, *, now: datetime) -> None:
    """Send through the platform from now on. Commits.

    Raises:
        FailoverUnavailable: The portal has no sender of its own, the account is not approved, no settings are live, or
            a failover is active.
    """
    if not current_config().platform.server:
        raise FailoverUnavailable(
            _("This portal has no platform’s sender, so emails can only wait for your server.")
        )
    if db.session.get_one(Account, account_id).approved_at is None:
        db.session.rollback()
        raise FailoverUnavailable(
            _("Your account is not approved yet, so the platform’s sender does not replace your server.")
        )
    get_queue(account_id, lock=True)
    version = live_version(account_id)
    if version is None or version.failover_since is not None:
        db.session.rollback()
        raise FailoverUnavailable(_("The platform already sends your emails."))
    version.failover_since = now
    for incident in _of_version(version, lifecycle.open_incidents(account_id)):
        lifecycle.add_timeline_entry(incident, TimelineKind.FAILOVER, now=now)
    login_probe.schedule_soon(account_id, version.number, now=now, within=_PROBE_WITHIN)
    release_queue(account_id)
    audit.record(audit.Activity.FAILOVER_STARTED, account_id)
    db.session.commit()


def end(version: SmtpSettings, *, now: datetime) -> None:
    """End the failover of a version, if one is active. The caller holds the queue's lock and commits."""
    if version.failover_since is None:
        return
    version.failover_since = None
    for incident in _of_version(version, lifecycle.open_incidents(version.account_id)):
        lifecycle.add_timeline_entry(incident, TimelineKind.FAILBACK, now=now)
    release_queue(version.account_id)
    _release_possibly_delivered(version.account_id)


def end_manually(account_id: int, *, now: datetime) -> bool:
    """End the failover at the owner's request; return whether one was active. Commits."""
    get_queue(account_id, lock=True)
    version = live_version(account_id)
    was_active = version is not None and version.failover_since is not None
    if version is not None:
        end(version, now=now)
    if was_active:
        audit.record(audit.Activity.FAILOVER_ENDED, account_id)
    db.session.commit()
    return was_active


def find_due_accounts(now: datetime) -> list[int]:
    """Return the accounts whose policy is failover and whose server has failed for the chosen minutes."""
    query = (
        select(
            Incident.account_id, Incident.episode_started_at, Incident.diagnosis, IncidentPolicy.after_minutes
        )
        .join(IncidentPolicy, IncidentPolicy.account_id == Incident.account_id)
        .join(
            SmtpSettings,
            (SmtpSettings.account_id == Incident.account_id)
            & (SmtpSettings.number == Incident.version_number),
        )
        .where(
            Incident.is_open,
            Incident.kind == IncidentKind.SENDING,
            IncidentPolicy.on_failure == OnFailure.PLATFORM,
            SmtpSettings.state == "live",
            SmtpSettings.failover_since.is_(None),
        )
    )
    return list(
        {
            account_id
            for account_id, started_at, diagnosis, minutes in db.session.execute(query)
            if started_at + timedelta(minutes=minutes) <= now
            and diagnosis.get("retry_class") != RetryClass.RATE  # the server works, but limits the rate
        }
    )


def _of_version(version: SmtpSettings, incidents: list[Incident]) -> list[Incident]:
    return [
        incident
        for incident in incidents
        if incident.kind is IncidentKind.SENDING and incident.version_number == version.number
    ]


def _release_possibly_delivered(account_id: int) -> None:
    """Make possibly delivered messages due.

    During the failover they waited for the account's own server: that server may hold them already, so sending them
    through the platform could deliver them twice.
    """
    possibly_delivered = select(DeliveryAttempt.message_id).where(
        DeliveryAttempt.message_id == OutboxMessage.id,
        DeliveryAttempt.ambiguous,
        DeliveryAttempt.outcome != Outcome.ACCEPTED,
    )
    db.session.execute(
        update(OutboxMessage)
        .where(
            OutboxMessage.account_id == account_id,
            OutboxMessage.status.in_((Status.QUEUED, Status.HELD)),
            possibly_delivered.exists(),
        )
        .values(next_attempt_at=db_now())
        .execution_options(synchronize_session=False)
    )
