"""Saving SMTP settings as versions, and deciding which one sends."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from .. import rate_limit
from ..accounts.models import Account, Owner
from ..db import db
from ..jobs import notify
from ..outbox.queue import get_queue, release
from ..vault import SealBroken
from . import credentials, validation
from .models import DETECT, CheckState, SettingsCheck, SmtpSettings, State
from .validation import SettingsRefused, Typed

__all__ = ["SettingsRefused", "Typed"]

CHECKS = rate_limit.Budget("settings-check", 30, timedelta(hours=1))
_SPACES = "app-password-spaces"


def newest(account_id: int) -> SmtpSettings | None:
    """Return the version saved last, whatever became of it."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id)
    return db.session.scalar(query.order_by(SmtpSettings.number.desc()).limit(1))


def find(account_id: int, number: int) -> SmtpSettings | None:
    """Return one version of this account by its number."""
    return db.session.scalar(
        select(SmtpSettings).where(SmtpSettings.account_id == account_id, SmtpSettings.number == number)
    )


def history(account_id: int, limit: int = 20) -> list[SmtpSettings]:
    """Return the versions, newest first."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id)
    return list(db.session.scalars(query.order_by(SmtpSettings.number.desc()).limit(limit)))


def save_draft(owner: Owner, typed: Typed, *, now: datetime) -> SmtpSettings:
    """Save the next version as a draft and start its check; one commit. Raises SettingsRefused.

    Settings whose shape betrays a mistake are saved without a check, so that no log-in is wasted on
    them; the page then asks what was meant.
    """
    version = validation.judge(typed)
    _one_at_a_time(owner.account_id)
    saved = newest(owner.account_id)
    version.account_id, version.number = owner.account_id, _next_number(owner.account_id)
    version.state, version.created_at = State.DRAFT, now
    if saved and saved.host == version.host:  # how this server wants to be greeted
        version.ehlo_name = saved.ehlo_name
    _seal(version, typed, saved, now)
    version.credential_warnings = validation.advise(version, typed.password)
    if saved and not typed.password:  # what was said, or answered, about the kept password still holds
        version.credential_warnings += [
            one for one in saved.credential_warnings if one["field"] == "password"
        ]
    db.session.add(version)
    db.session.flush()
    if not questions(version):
        _start_check(version, owner, now)
    db.session.commit()
    return version


def save_mended(owner: Owner, version: SmtpSettings, password: str, *, now: datetime) -> SmtpSettings:
    """Save a version whose change is proved, with the password it was proved with, and check it. Commits."""
    _one_at_a_time(owner.account_id)
    version.number, version.created_at = _next_number(owner.account_id), now
    version.credential_warnings = [one | {"blocking": False} for one in version.credential_warnings]
    credentials.seal(version, password)
    db.session.add(version)
    db.session.flush()
    _start_check(version, owner, now)
    db.session.commit()
    return version


def check_again(owner: Owner, version: SmtpSettings, *, now: datetime) -> None:
    """Start another check of a version, which goes live if it passes. Commits. Raises SettingsRefused."""
    _answered(version)
    _start_check(version, owner, now)
    db.session.commit()


def read_without_spaces(owner: Owner, version: SmtpSettings, *, now: datetime) -> None:
    """Take the app password without its spaces, and check. Commits. Raises SettingsRefused.

    Only the answer to the page's question: the password of a version that was ever tried is never edited.
    """
    if not any(one["code"] == _SPACES for one in questions(version)):
        raise SettingsRefused(
            {"password": "Nothing was asked about this password. Enter it anew to change it."}
        )
    try:
        password = re.sub(r"\s", "", credentials.open_password(version))
    except SealBroken:
        raise SettingsRefused({"password": "Enter the SMTP password again."}) from None
    credentials.seal(version, password)
    version.credential_warnings = [one for one in version.credential_warnings if one["code"] != _SPACES]
    check_again(owner, version, now=now)


def activate(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live in place of the present one, and let waiting mail leave. The caller commits."""
    _one_at_a_time(version.account_id)
    _retire_live(version.account_id)
    version.state, version.live_since, version.failover_since = State.LIVE, now, None
    let_go(version.account_id, now)


def stop_using(account_id: int, *, now: datetime) -> None:
    """Go back to the platform's sender, whatever a check under way will find. Commits."""
    of_this_account = select(SmtpSettings.id).where(SmtpSettings.account_id == account_id)
    db.session.execute(
        update(SettingsCheck)
        .where(
            SettingsCheck.version_id.in_(of_this_account),
            SettingsCheck.state.in_((CheckState.WAITING, CheckState.RUNNING)),
        )
        .values(state=CheckState.FAILED, ended_at=now, lease_until=None)
    )
    _one_at_a_time(account_id)
    _retire_live(account_id)
    let_go(account_id, now)
    db.session.commit()


def activate_anyway(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live although it is not proven, at the owner's word. Commits. Raises SettingsRefused."""
    if not is_complete(version):
        raise SettingsRefused(
            {"port": "Nothing answered yet, so port and encryption are unknown. Choose them and save again."}
        )
    _answered(version)
    activate(version, now=now)
    db.session.commit()


def questions(version: SmtpSettings) -> validation.Advice:
    """Return the pieces of advice that have to be answered before a log-in is tried."""
    return [one for one in version.credential_warnings if one.get("blocking")]


def is_complete(version: SmtpSettings) -> bool:
    """Whether the way to encrypt is known."""
    return version.port != 0 and version.security != DETECT


def latest_check(version: SmtpSettings) -> SettingsCheck | None:
    query = select(SettingsCheck).where(SettingsCheck.version_id == version.id)
    return db.session.scalar(query.order_by(SettingsCheck.id.desc()).limit(1))


def last_checked(account_id: int) -> SmtpSettings | None:
    """Return the version whose check is the account's newest; it may be an earlier version tried again."""
    query = (
        select(SmtpSettings)
        .join(SettingsCheck, SettingsCheck.version_id == SmtpSettings.id)
        .where(SmtpSettings.account_id == account_id)
        .order_by(SettingsCheck.id.desc())
        .limit(1)
    )
    return db.session.scalar(query)


def let_go(account_id: int, now: datetime) -> None:
    """Mail leaves another way from now on, so whatever stopped it no longer counts."""
    queue = get_queue(account_id)
    queue.paused_until, queue.consecutive_failures = None, 0
    release(account_id, now=now)


def _one_at_a_time(account_id: int) -> None:
    """Wait for whoever else is changing this account's versions, so that numbers and the live one stay unique.

    Where there is one writer only, as in SQLite, this asks for nothing; sign-ups are never waited for.
    """
    query = select(Account.id).where(Account.id == account_id)
    db.session.execute(query.with_for_update(key_share=True))


def _next_number(account_id: int) -> int:
    query = select(func.max(SmtpSettings.number)).where(SmtpSettings.account_id == account_id)
    return (db.session.scalar(query) or 0) + 1


def _seal(version: SmtpSettings, typed: Typed, saved: SmtpSettings | None, now: datetime) -> None:
    """Seal the typed password, or the saved one where it still goes to the same server and user."""
    password, version.password_saved_at = typed.password, now
    if not password:
        password, version.password_saved_at = _kept(version, saved)
    credentials.seal(version, password)


def _kept(version: SmtpSettings, saved: SmtpSettings | None) -> tuple[str, datetime]:
    if saved is None:
        raise SettingsRefused({"password": "Enter the SMTP password."})
    changed = _what_changed(saved, version)
    if changed:
        sentence = (
            f"The {changed} changed, so enter the SMTP password again: "
            "a saved password only goes to the server and user it was saved for."
        )
        raise SettingsRefused({"password": sentence})
    try:
        return credentials.open_password(saved), saved.password_saved_at
    except SealBroken:
        raise SettingsRefused(
            {"password": "The saved password cannot be opened any more. Enter it again."}
        ) from None


def _what_changed(saved: SmtpSettings, version: SmtpSettings) -> str | None:
    pairs = {
        "SMTP Server": (saved.host, version.host),
        "SMTP Port": (saved.port, version.port),
        "Enable SSL choice": (saved.security, version.security),
        "SMTP Username": (saved.username, version.username),
    }
    return next((label for label, (old, new) in pairs.items() if old != new), None)


def _start_check(version: SmtpSettings, owner: Owner, now: datetime) -> None:
    """Ask for a check, unless one of this version waits already: two would only log in twice."""
    if not rate_limit.spend(CHECKS, version.account_id, now=now):
        db.session.rollback()
        sentence = (
            "These settings were checked very often in the last hour. "
            "Wait a while: providers lock users who try too often."
        )
        raise SettingsRefused({"": sentence})
    if not _waits(version):
        check = SettingsCheck(version_id=version.id, recipient=owner.mailbox, recipient_name=owner.name)
        check.state, check.stages, check.created_at = CheckState.WAITING, [], now
        db.session.add(check)
    notify.push_after_commit("check", version.id)


def _waits(version: SmtpSettings) -> bool:
    query = select(SettingsCheck.id).where(
        SettingsCheck.version_id == version.id, SettingsCheck.state == CheckState.WAITING
    )
    return db.session.scalar(query.limit(1)) is not None


def _answered(version: SmtpSettings) -> None:
    version.credential_warnings = [one | {"blocking": False} for one in version.credential_warnings]


def _retire_live(account_id: int) -> None:
    db.session.execute(
        update(SmtpSettings)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.state == State.LIVE)
        .values(state=State.RETIRED)
    )
