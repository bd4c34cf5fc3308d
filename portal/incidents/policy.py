"""How an owner wants trouble handled: who is told, and what happens to emails meanwhile."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from ..db import db, insert
from ..outbox.queue import get_queue
from ..state import vault
from .models import Care, OnFailure

_DEFAULTS: dict[str, Any] = {
    "email_alerts": True,
    "webhook_enabled": False,
    "webhook_url": "",
    "on_failure": OnFailure.WAIT,
    "after_minutes": 30,
}


@dataclass(frozen=True)
class Shown:
    """An address was saved. ``secret`` is shown this once; empty: the one there is goes on."""

    secret: str = field(default="", repr=False)


def of(account_id: int) -> Care:
    """Return what the owner chose, or what holds as long as nothing was chosen. Not to be changed."""
    found = db.session.scalar(select(Care).where(Care.account_id == account_id))
    return found or Care(account_id=account_id, **_DEFAULTS)


def switch_mail(account_id: int, *, on: bool) -> None:
    """Switch alerts by email. Commits."""
    _row(account_id).email_alerts = on
    db.session.commit()


def save_hook(account_id: int, url: str) -> Shown:
    """Post events to this address from now on. A new address gets a new secret. Commits."""
    care, secret = _row(account_id), ""
    if care.webhook_url != url or care.sealed_secret is None:
        care.webhook_url = url
        secret = _seal_new_secret(care)
    care.webhook_enabled = True
    db.session.commit()
    return Shown(secret)


def renew_secret(account_id: int) -> Shown | None:
    """Replace the secret; the old one signs nothing any more. Commits. None where there is no address."""
    care = _row(account_id)
    if not care.webhook_url:
        db.session.rollback()
        return None
    secret = _seal_new_secret(care)
    db.session.commit()
    return Shown(secret)


def stop_hook(account_id: int) -> None:
    """Post nothing any more, and forget address and secret. Commits."""
    care = _row(account_id)
    care.webhook_enabled, care.webhook_url, care.sealed_secret = False, "", None
    db.session.commit()


def choose(account_id: int, action: OnFailure, after_minutes: int) -> None:
    """Choose what happens to emails when the account's own server fails. Commits."""
    care = _row(account_id)
    care.on_failure, care.after_minutes = action, after_minutes
    db.session.commit()


def secret_of(care: Care) -> str:
    """Open the secret that signs. Raises SealBroken."""
    return vault().open(care.sealed_secret or b"", binding(care))


def binding(care: Care) -> dict[str, str | int]:
    """What a webhook's secret is sealed for."""
    return {"kind": "webhook-secret", "account": care.account_id, "url": care.webhook_url}


def _seal_new_secret(care: Care) -> str:
    secret = f"whsec_{secrets.token_urlsafe(32)}"
    care.sealed_secret = vault().seal(secret, binding(care))
    return secret


def _row(account_id: int) -> Care:
    """Return the account's row, made on first use and locked."""
    get_queue(account_id, lock=True)
    db.session.execute(insert(Care).values(account_id=account_id, **_DEFAULTS).on_conflict_do_nothing())
    return db.session.scalars(select(Care).where(Care.account_id == account_id).with_for_update()).one()
