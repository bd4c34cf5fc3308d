"""Changes to a person's second factors. Each is emailed to the person in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, true

from ... import audit
from ...db import db
from ...security_log import SecurityEvent, record
from ..models import Owner
from . import challenges, emails, recovery, totp
from .models import Passkey, RecoveryCode, Totp
from .second_step import CodeSource, WrongCode, count_code
from .state import codes_left, is_demanded, lock, owns_factor

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import LoggedIn
    from .totp import NewApp


class LastFactor(Exception):
    """An account of the person demands a second factor, and this is the last one."""


def confirm_app(user: LoggedIn, app: NewApp, code: str, network: str, *, now: datetime) -> list[str]:
    """Make an app the person's second factor, in place of a former one, if its first code is right. Commits.

    Returns new recovery codes if the person has none, else nothing. Raises WrongCode or TooManyAttempts.
    """
    count_code(user.id, CodeSource.of_session(user, network), now=now)
    step = totp.matching_step(app.secret, "".join(code.split()), now=now)
    if step is None:
        raise WrongCode
    lock(user.id)
    totp.store(user.id, app.secret, step, now=now)
    codes = first_codes(user.id, now=now)
    emails.app_added(user.id, now=now)
    commit_added(user, factor="app")
    return codes


def remove_app(user: LoggedIn, *, now: datetime) -> None:
    """Remove the person's app; with the last factor, the recovery codes end. Commits. Raises LastFactor."""
    lock(user.id)
    removed = db.session.execute(delete(Totp).where(Totp.owner_id == user.id))
    end_removal(user.id)
    if int(removed.rowcount) == 1:  # type: ignore[attr-defined]
        emails.app_removed(user.id, now=now)
        audit.record(audit.Activity.FACTOR_REMOVED, user.account_id, before={"factor": "app"})
    db.session.commit()
    record(SecurityEvent.FACTOR_CHANGED, factor="app", change="removed")


def commit_added(user: LoggedIn, **what: str) -> None:
    """Record a factor that was added, and commit. ``what`` is its kind as ``factor``, and a passkey's name."""
    audit.record(audit.Activity.FACTOR_ADDED, user.account_id, after=what)
    db.session.commit()
    record(SecurityEvent.FACTOR_CHANGED, factor=what["factor"], change="added")


def end_removal(owner_id: int) -> None:
    """Delete the recovery codes with the last factor. The caller commits.

    Rolls back and raises LastFactor where a programme demands a factor.
    """
    if not _has_none(owner_id):
        return
    if is_demanded(owner_id):
        db.session.rollback()
        raise LastFactor
    recovery.delete_all(owner_id)


def first_codes(owner_id: int, *, now: datetime) -> list[str]:
    """Return new recovery codes for a person who has none, else nothing. The caller commits."""
    return [] if codes_left(owner_id) else recovery.replace_all(owner_id, now=now)


def new_codes(user: LoggedIn, *, now: datetime) -> list[str]:
    """Make new recovery codes; the former ones end. Commits. Returns none for a person without a second factor."""
    lock(user.id)
    if _has_none(user.id):
        db.session.rollback()
        return []
    codes = recovery.replace_all(user.id, now=now)
    emails.codes_made(user.id, now=now)
    audit.record(audit.Activity.RECOVERY_CODES_MADE, user.account_id)
    db.session.commit()
    record(SecurityEvent.FACTOR_CHANGED, factor="recovery-codes", change="added")
    return codes


def _has_none(owner_id: int) -> bool:
    return not db.session.scalar(select(owns_factor(Owner.id)).where(Owner.id == owner_id))


def delete_all(owner_id: int, *, since: datetime | None = None) -> None:
    """Delete all factors of a person, or those added since a time, and what waits for one. The caller commits.

    Without a factor, no recovery codes are left.
    """
    lock(owner_id)
    for table in (Totp, Passkey, RecoveryCode):
        added = true() if since is None else table.created_at >= since
        db.session.execute(delete(table).where(table.owner_id == owner_id, added))
    if _has_none(owner_id):
        recovery.delete_all(owner_id)
    challenges.end_all(owner_id)
