"""The owner's incident policy: who is alerted, the webhook, and what happens to emails when sending fails."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from .. import audit
from ..db import db, insert
from ..outbox import rate_limits
from ..outbox.queue import get_queue
from ..security_log import SecurityEvent, record
from ..state import vault
from .models import IncidentPolicy, OnFailure

SECRET_PREFIX = "whsec_"
_SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64
_DEFAULTS: dict[str, Any] = {
    "email_alerts": True,
    "webhook_enabled": False,
    "message_events": False,
    "webhook_url": "",
    "on_failure": OnFailure.WAIT,
    "after_minutes": 30,
}


@dataclass(frozen=True)
class SavedWebhook:
    """Result of saving a webhook. ``secret`` is shown this once; empty: the present secret stays valid."""

    secret: str = field(default="", repr=False)


def get(account_id: int) -> IncidentPolicy:
    """Return the account's policy, or the default one, which is not in the session. Read-only."""
    found = db.session.scalar(select(IncidentPolicy).where(IncidentPolicy.account_id == account_id))
    return found or IncidentPolicy(account_id=account_id, **_DEFAULTS)


def set_email_alerts(account_id: int, *, on: bool) -> None:
    """Switch alerts by email on or off. Commits."""
    row = _locked_row(account_id)
    before, row.email_alerts = {"on": row.email_alerts}, on
    audit.record(audit.Activity.ALERTS_SWITCHED, account_id, before=before, after={"on": on})
    db.session.commit()


def set_message_events(account_id: int, *, on: bool) -> None:
    """Post events about messages and affiliates, too, or only those about incidents. Commits."""
    row = _locked_row(account_id)
    before, row.message_events = {"events_about_emails": row.message_events}, on
    after = {"events_about_emails": on}
    audit.record(audit.Activity.WEBHOOK_EVENTS_SWITCHED, account_id, before=before, after=after)
    db.session.commit()


def save_webhook(account_id: int, url: str) -> SavedWebhook:
    """Post events to this address from now on; a changed address gets a new secret. Commits."""
    row, secret = _locked_row(account_id), ""
    before, after = {"address": audit.host_of(row.webhook_url)}, {"address": audit.host_of(url)}
    if row.webhook_url != url or row.sealed_secret is None:
        row.webhook_url = url
        secret = _seal_new_secret(row)
        after["secret"] = "changed"
    row.webhook_enabled = True
    audit.record(audit.Activity.WEBHOOK_SAVED, account_id, before=before, after=after)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=account_id)
    return SavedWebhook(secret)


def renew_webhook_secret(account_id: int) -> SavedWebhook | None:
    """Replace the secret at once; return None where there is no address. Commits."""
    row = _locked_row(account_id)
    if not row.webhook_url:
        db.session.rollback()
        return None
    secret = _seal_new_secret(row)
    audit.record(audit.Activity.WEBHOOK_SECRET_RENEWED, account_id, after={"secret": "changed"})
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=account_id)
    return SavedWebhook(secret)


def remove_webhook(account_id: int) -> None:
    """Stop posting and delete address and secret. Commits."""
    row = _locked_row(account_id)
    before = {"address": audit.host_of(row.webhook_url)}
    row.webhook_enabled, row.webhook_url, row.sealed_secret = False, "", None
    audit.record(audit.Activity.WEBHOOK_REMOVED, account_id, before=before)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_REMOVED, account=account_id)


def set_failure_action(account_id: int, action: OnFailure, after_minutes: int) -> None:
    """Set what happens to emails when the account's own server fails. Commits."""
    row = _locked_row(account_id)
    before = {"on_failure": row.on_failure.value, "after_minutes": row.after_minutes}
    row.on_failure, row.after_minutes = action, after_minutes
    after = {"on_failure": action.value, "after_minutes": after_minutes}
    audit.record(audit.Activity.FAILURE_POLICY_SAVED, account_id, before=before, after=after)
    db.session.commit()


def save_limits(account_id: int, per_second: int | None, per_hour: int | None, per_day: int | None) -> None:
    """Set the account's sending limits; None means no limit. Commits."""
    saved = rate_limits.get_limits(account_id)
    after = {"per_second": per_second, "per_hour": per_hour, "per_day": per_day}
    before = {name: getattr(saved, name, None) for name in after}
    audit.record(audit.Activity.LIMITS_SAVED, account_id, before=before, after=after)
    rate_limits.set_limits(account_id, per_second, per_hour, per_day)  # commits both


def open_secret(policy: IncidentPolicy) -> str:
    """Return the secret that signs deliveries. Raises DecryptionError."""
    return vault().open(policy.sealed_secret or b"", secret_binding(policy))


def secret_binding(policy: IncidentPolicy) -> dict[str, str | int]:
    """Return what a webhook's secret is bound to in the vault: its account and address."""
    return {"kind": "webhook-secret", "account": policy.account_id, "url": policy.webhook_url}


def _seal_new_secret(policy: IncidentPolicy) -> str:
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    policy.sealed_secret = vault().seal(secret, secret_binding(policy))
    return secret


def _locked_row(account_id: int) -> IncidentPolicy:
    """Return the account's row, inserted on first use, and locked."""
    get_queue(account_id, lock=True)
    db.session.execute(
        insert(IncidentPolicy).values(account_id=account_id, **_DEFAULTS).on_conflict_do_nothing()
    )
    query = select(IncidentPolicy).where(IncidentPolicy.account_id == account_id)
    return db.session.scalars(query.with_for_update()).one()
