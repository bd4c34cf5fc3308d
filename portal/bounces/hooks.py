"""The hooks of an account: secret addresses to which providers post events, and the keys that verify their signatures."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Update, delete, func, or_, select, update

from .. import audit
from ..accounts.tokens import hash_token
from ..db import db, insert
from ..security_log import SecurityEvent, record
from ..state import current_config, vault
from ..vault import DecryptionError
from .models import BounceHook, FormerSecret

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMER_WORKS = timedelta(days=7)  # after a new secret was made
QUIET_AFTER = timedelta(days=14)  # without an event: the page shows it
_SECRET_BYTES = 24
MAX_KEY_CHARS = 2_000
_MAX_FORMER = 20  # addresses of one hook that work beside the present one


class TooManyAddresses(Exception):
    """A hook has so many former addresses that still work that it gets no new one."""


def create(account_id: int, provider: str, *, now: datetime) -> None:
    """Make the hook of a provider, if the account has none yet. Commits."""
    secret = _new_secret()
    values = {
        "account_id": account_id,
        "provider": provider,
        "secret_hash": hash_token(secret),
        "sealed_secret": vault().seal(secret, _secret_binding(account_id, provider)),
        "topic": "",
        "created_at": now,
        "events": 0,
        "refused": 0,
    }
    made = insert(BounceHook).values(values).on_conflict_do_nothing().returning(BounceHook.id)
    if db.session.scalar(made) is not None:
        _record(audit.Activity.BOUNCE_ADDRESS_MADE, account_id, provider)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=account_id)


def renew(account_id: int, provider: str, *, now: datetime) -> bool:
    """Replace the secret; the former one works for some days more. False if there is no hook. Commits.

    Raises TooManyAddresses.
    """
    hook = find(account_id, provider, lock=True)
    if hook is None:
        return False
    former = FormerSecret.hook_id == hook.id
    db.session.execute(delete(FormerSecret).where(former, FormerSecret.works_until <= now))
    if (db.session.scalar(select(func.count()).where(former)) or 0) >= _MAX_FORMER:
        db.session.rollback()
        raise TooManyAddresses
    secret = _new_secret()
    db.session.add(
        FormerSecret(secret_hash=hook.secret_hash, hook_id=hook.id, works_until=now + FORMER_WORKS)
    )
    hook.secret_hash = hash_token(secret)
    hook.sealed_secret = vault().seal(secret, secret_binding(hook))
    _record(audit.Activity.BOUNCE_ADDRESS_RENEWED, account_id, provider)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=account_id)
    return True


def remove(account_id: int, provider: str) -> bool:
    """Delete a hook: events posted to its address are refused. False if there is none. Commits."""
    hook = find(account_id, provider, lock=True)
    if hook is None:
        return False
    db.session.execute(delete(FormerSecret).where(FormerSecret.hook_id == hook.id))
    db.session.delete(hook)
    _record(audit.Activity.BOUNCE_ADDRESS_REMOVED, account_id, provider)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_REMOVED, account=account_id)
    return True


def save_key(account_id: int, provider: str, key: str) -> bool:
    """Save the key that verifies the provider's signatures. False if there is no hook. Commits."""
    hook = find(account_id, provider, lock=True)
    if hook is None:
        return False
    hook.sealed_key = vault().seal(key, key_binding(hook))
    _record(audit.Activity.BOUNCE_KEY_SAVED, account_id, provider)
    db.session.commit()
    record(SecurityEvent.WEBHOOK_SAVED, account=account_id)
    return True


def find(account_id: int, provider: str, *, lock: bool = False) -> BounceHook | None:
    """Return the account's hook of a provider."""
    query = select(BounceHook).where(BounceHook.account_id == account_id, BounceHook.provider == provider)
    return db.session.scalar(query.with_for_update() if lock else query)


def find_by_secret(provider: str, secret: str, *, now: datetime) -> BounceHook | None:
    """Return the hook to whose address was posted. It is looked up by a hash, so the time of the answer reveals nothing."""
    hashed = hash_token(secret)
    former = select(FormerSecret.hook_id).where(
        FormerSecret.secret_hash == hashed, FormerSecret.works_until > now
    )
    query = select(BounceHook).where(or_(BounceHook.secret_hash == hashed, BounceHook.id.in_(former)))
    return db.session.scalar(query.where(BounceHook.provider == provider))


def list_hooks(account_id: int) -> Sequence[BounceHook]:
    """Return the account's hooks."""
    query = select(BounceHook).where(BounceHook.account_id == account_id)
    return db.session.scalars(query.order_by(BounceHook.provider)).all()


def former_until(account_id: int, *, now: datetime) -> dict[int, datetime]:
    """Return until when the last former address of each hook works, by the hook's id; without those that have none."""
    last = func.max(FormerSecret.works_until)
    query = select(FormerSecret.hook_id, last).join(BounceHook, BounceHook.id == FormerSecret.hook_id)
    query = query.where(BounceHook.account_id == account_id, FormerSecret.works_until > now)
    return dict(db.session.execute(query.group_by(FormerSecret.hook_id)).all())


def address(hook: BounceHook) -> str:
    """Return the address to paste at the provider; empty if the secret cannot be opened with the portal's present key."""
    try:
        secret = vault().open(hook.sealed_secret, secret_binding(hook))
    except DecryptionError:
        return ""
    return f"{current_config().base_url}/hooks/{hook.provider}/{secret}"


def open_key(hook: BounceHook) -> str:
    """Return the key that verifies the provider's signatures; empty if none is saved or it cannot be opened."""
    try:
        return vault().open(hook.sealed_key, key_binding(hook)) if hook.sealed_key else ""
    except DecryptionError:
        return ""


def count_events(hook_id: int, number: int, *, now: datetime) -> None:
    """Note that a call with a right signature came. The caller commits."""
    values = {"events": BounceHook.events + number, "last_event_at": now}
    db.session.execute(_update(hook_id).values(values))


def count_refused(hook_id: int, *, now: datetime) -> None:
    """Note that a call with a wrong signature came. Commits."""
    db.session.execute(_update(hook_id).values(refused=BounceHook.refused + 1, refused_at=now))
    db.session.commit()


def secret_binding(hook: BounceHook) -> dict[str, str | int]:
    """Return what the sealed secret of a hook is bound to: its account and provider."""
    return _secret_binding(hook.account_id, hook.provider)


def key_binding(hook: BounceHook) -> dict[str, str | int]:
    """Return what the sealed key of a hook is bound to."""
    return {"kind": "bounce-hook-key", "account": hook.account_id, "provider": hook.provider}


def _secret_binding(account_id: int, provider: str) -> dict[str, str | int]:
    return {"kind": "bounce-hook-secret", "account": account_id, "provider": provider}


def _record(action: audit.Activity, account_id: int, provider: str) -> None:
    audit.record(action, account_id, after={"provider": provider})


def _new_secret() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


def _update(hook_id: int) -> Update:
    return update(BounceHook).where(BounceHook.id == hook_id).execution_options(synchronize_session=False)
