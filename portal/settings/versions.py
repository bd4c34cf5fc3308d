"""Versions of the SMTP settings: save drafts, request checks, and activate one version per account."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import func, select, update

from .. import audit
from ..accounts import emails
from ..accounts.activity.warnings import warn_owners
from ..accounts.models import Account
from ..db import db
from ..oauth import grants
from ..outbox.queue import get_queue, release
from ..security_log import SecurityEvent, record
from ..smtp.server import Mechanism
from ..vault import DecryptionError
from . import credentials, domain_proof, validation
from .checking import check_requests
from .connecting import used_grants
from .drafts import trail
from .models import DETECT, SettingsCheck, SmtpSettings, VersionState
from .routing import live_version
from .validation import InvalidSettings, SettingsInput

if TYPE_CHECKING:
    from datetime import datetime

    from .checking.check_requests import SettingsSaver

_SPACES_CODE = "app-password-spaces"
_KEPT = SmtpSettings.state != VersionState.DISCARDED


def account_of(version_id: int) -> int | None:
    """Return the account of a version, or None if there is no such version."""
    return db.session.scalar(select(SmtpSettings.account_id).where(SmtpSettings.id == version_id))


def newest(account_id: int) -> SmtpSettings | None:
    """Return the last version that a person saved, in whatever state except discarded.

    Drafts of the API fill no form and no new connection: the person would save values unseen.
    """
    query = select(SmtpSettings).where(
        SmtpSettings.account_id == account_id, _KEPT, SmtpSettings.waits_for_person.is_(False)
    )
    return db.session.scalar(query.order_by(SmtpSettings.number.desc()).limit(1))


def find(account_id: int, number: int) -> SmtpSettings | None:
    """Return one version of an account by its number, unless it is discarded."""
    return db.session.scalar(
        select(SmtpSettings).where(
            SmtpSettings.account_id == account_id, SmtpSettings.number == number, _KEPT
        )
    )


def base_of(account_id: int, number: str) -> SmtpSettings | None:
    """Return the version that a form was filled from, by its number in text form; without one, the last saved version."""
    chosen = (
        find(account_id, int(number)) if number.isascii() and number.isdigit() and len(number) < 7 else None
    )
    return chosen or newest(account_id)


def history(account_id: int, limit: int = 20) -> list[SmtpSettings]:
    """Return the versions of an account, newest first."""
    query = select(SmtpSettings).where(SmtpSettings.account_id == account_id, _KEPT)
    return list(db.session.scalars(query.order_by(SmtpSettings.number.desc()).limit(limit)))


def count_drafts(account_id: int) -> int:
    """Return how many drafts ``discard_drafts`` would discard."""
    is_draft = (SmtpSettings.account_id == account_id, SmtpSettings.state == VersionState.DRAFT)
    return db.session.scalar(select(func.count()).select_from(SmtpSettings).where(*is_draft)) or 0


def waiting_for_person(account_id: int, limit: int = 3) -> list[SmtpSettings]:
    """Return the newest drafts that were saved through the API and that a person has not activated."""
    query = select(SmtpSettings).where(
        SmtpSettings.account_id == account_id,
        SmtpSettings.state == VersionState.DRAFT,
        SmtpSettings.waits_for_person.is_(True),
    )
    return list(db.session.scalars(query.order_by(SmtpSettings.number.desc()).limit(limit)))


def save_draft(
    owner: SettingsSaver, values: SettingsInput, *, now: datetime, by_api: bool = False
) -> SmtpSettings:
    """Save the next version as a draft and request its check. Commits once. Raises InvalidSettings.

    A version with blocking warnings is saved without a check: providers lock users after failed logins, so the page
    first asks the owner to confirm or correct it.

    Args:
        by_api: request no check; the version waits for a person, as does each one that is based on it.
    """
    saved = base_of(owner.account_id, values.based_on)
    try:
        version = validation.validate(values)
    except InvalidSettings as error:
        missing = credentials.missing_password(values, saved)
        raise InvalidSettings(error.errors | ({"password": missing} if missing else {})) from None
    lock_account(owner.account_id)
    version.account_id, version.number = owner.account_id, _next_number(owner.account_id)
    version.state, version.created_at, version.saved_by = VersionState.DRAFT, now, owner.name
    version.waits_for_person = by_api or (saved is not None and saved.waits_for_person)
    if saved and saved.host != version.host and saved.ehlo_name == version.ehlo_name:
        version.ehlo_name = ""  # it belongs to the server
    _seal_password(version, credentials.prepare_password(values.password), saved, now)
    version.credential_warnings = validation.warnings(version, values.password)
    if not (saved and (saved.provider, saved.host) == (version.provider, version.host)):  # not asked before
        version.credential_warnings += validation.pair_warnings(values.provider, version.host)
    if saved and not values.password:  # warnings about the kept password, confirmed or not, are kept as well
        version.credential_warnings += [
            one for one in saved.credential_warnings if one["field"] == "password"
        ]
    db.session.add(version)
    db.session.flush()
    trail.record(audit.Activity.SERVER_SAVED, version, trail.values_of(saved), password=bool(values.password))
    if not by_api and not blocking_warnings(version):
        check_requests.count_check(owner.account_id, now=now)
        check_requests.request_check(version, owner, now)
    number = version.number
    db.session.commit()
    record(SecurityEvent.SETTINGS_SAVED, account=owner.account_id, version=number)
    return version


def save_fixed(
    owner: SettingsSaver, version: SmtpSettings, password: str, *, now: datetime, is_counted: bool = False
) -> SmtpSettings:
    """Save a version with a verified fix, seal the password that was used for it, and request a check. Commits.

    Raises InvalidSettings.

    Args:
        is_counted: whether ``count_check`` has counted the check already.
    """
    lock_account(owner.account_id)
    before = trail.values_of(newest(owner.account_id))
    version.number, version.created_at = _next_number(owner.account_id), now
    version.saved_by = owner.name
    version.credential_warnings = [one | {"blocking": False} for one in version.credential_warnings]
    credentials.seal(version, password)
    db.session.add(version)
    db.session.flush()
    trail.record(audit.Activity.SERVER_SAVED, version, before)
    if not is_counted:
        check_requests.count_check(owner.account_id, now=now)
    check_requests.request_check(version, owner, now)
    number = version.number
    db.session.commit()
    record(SecurityEvent.SETTINGS_SAVED, account=owner.account_id, version=number)
    return version


def check_again(owner: SettingsSaver, version: SmtpSettings, *, now: datetime) -> None:
    """Request another check of a version, which goes live if it passes. Commits. Raises InvalidSettings."""
    _clear_blocking(version)
    check_requests.count_check(owner.account_id, now=now)
    check_requests.request_check(version, owner, now)
    trail.record(audit.Activity.SERVER_CHECKED, version)
    db.session.commit()


def strip_password_spaces(owner: SettingsSaver, version: SmtpSettings, *, now: datetime) -> None:
    """Remove the spaces from an app password and request a check. Commits. Raises InvalidSettings.

    Allowed only while the warning about spaces blocks the first check: the password of a version that has been tried
    is never edited.
    """
    if not any(one["code"] == _SPACES_CODE for one in blocking_warnings(version)):
        raise InvalidSettings(
            {"password": _("There is no open question about this password. To change it, enter a new one.")}
        )
    try:
        password = re.sub(r"\s", "", credentials.open_password(version))
    except DecryptionError:
        raise InvalidSettings({"password": _("Enter the SMTP password again.")}) from None
    credentials.seal(version, password)
    version.credential_warnings = [one for one in version.credential_warnings if one["code"] != _SPACES_CODE]
    trail.record(audit.Activity.SERVER_SAVED, version, password=True)
    check_again(owner, version, now=now)


def activate(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live in place of the current one and release the queue. The caller commits."""
    lock_account(version.account_id)
    former, used = live_version(version.account_id), _last_live(version.account_id)
    trail.record(audit.Activity.SERVER_LIVE, version, trail.values_of(former))
    if used is not None and (used.host, used.username) != (version.host, version.username):
        warn_owners(version.account_id, emails.server_changed)
    _retire_live(version.account_id)
    version.state, version.live_since, version.failover_since = VersionState.LIVE, now, None
    release_queue(version.account_id)


def activate_if_proved(version: SmtpSettings, *, now: datetime) -> bool:
    """Make a version live. Returns whether it is live. The caller commits.

    It is not if a person has to activate it or its domain has to be proved first, or if it was discarded or its connection
    ended meanwhile.
    """
    domain_proof.lock()
    lock_account(version.account_id)
    db.session.refresh(version, ["state", "waits_for_person"])
    if (
        version.state is VersionState.DISCARDED
        or version.waits_for_person
        or used_grants.is_disconnected(version)
        or domain_proof.is_missing(version)
    ):
        return False
    activate(version, now=now)
    return True


def stop_using(account_id: int, *, now: datetime) -> None:
    """Go back to the platform's sender. Checks that wait or run are cancelled, so none can activate a version. Commits."""
    check_requests.end_checks(account_id, now)
    lock_account(account_id)
    live = live_version(account_id)
    _retire_live(account_id)
    release_queue(account_id)
    audit.record(audit.Activity.SERVER_STOPPED, account_id, before=trail.values_of(live))
    db.session.commit()
    record(SecurityEvent.SETTINGS_STOPPED, account=account_id)


def discard_drafts(account_id: int, *, now: datetime) -> int:
    """Discard all drafts, delete their passwords and connections, and end their checks. Commits. Returns how many there were.

    The versions that were live stay. The rows stay, too, because messages and incidents name their numbers.
    """
    query = select(SmtpSettings.id).where(
        SmtpSettings.account_id == account_id, SmtpSettings.state == VersionState.DRAFT
    )
    check_requests.end_checks(account_id, now, SettingsCheck.version_id.in_(query))
    lock_account(account_id)
    ids = list(db.session.scalars(query))
    db.session.execute(
        update(SmtpSettings)
        .where(SmtpSettings.id.in_(ids))
        .values(state=VersionState.DISCARDED, sealed_password=b"")
    )
    used = select(SmtpSettings.grant_id).where(SmtpSettings.grant_id.is_not(None), _KEPT)
    grants.end_all_but(account_id, used, now=now)
    if ids:
        audit.record(audit.Activity.DRAFTS_DISCARDED, account_id, after={"count": len(ids)})
    db.session.commit()
    return len(ids)


def force_activate(version: SmtpSettings, *, now: datetime) -> None:
    """Make a version live at a person's request, also without a passed check. Commits. Raises InvalidSettings."""
    if not is_complete(version):
        raise InvalidSettings(
            {
                "port": _(
                    "No server has answered yet, so port and encryption are unknown. Choose them and save again."
                )
            }
        )
    if used_grants.is_disconnected(version):
        raise InvalidSettings({"": _("This mailbox was disconnected. Connect it again.")})
    _clear_blocking(version)
    version.waits_for_person = False
    db.session.flush()
    if not activate_if_proved(version, now=now):
        db.session.rollback()
        raise InvalidSettings({"domain": domain_proof.ask_first(version.domain)})
    account_id, number = version.account_id, version.number
    db.session.commit()
    record(SecurityEvent.SETTINGS_LIVE, account=account_id, version=number)


def blocking_warnings(version: SmtpSettings) -> validation.Warnings:
    """Return the warnings that the owner has to confirm or correct before a login is tried."""
    return [one for one in version.credential_warnings if one.get("blocking")]


def is_complete(version: SmtpSettings) -> bool:
    """Whether port and encryption are known."""
    return version.port != 0 and version.security != DETECT


def release_queue(account_id: int) -> None:
    """Release held email, because it now goes through another server. The caller commits."""
    queue = get_queue(account_id)
    queue.paused_until, queue.consecutive_failures = None, 0
    release(account_id)


def lock_account(account_id: int) -> None:
    """Lock an account against concurrent changes of its versions, so that numbers and the live version stay unique.

    A key-share lock on PostgreSQL, which does not block sign-ups. SQLite has a single writer and ignores it.
    """
    query = select(Account.id).where(Account.id == account_id)
    db.session.execute(query.with_for_update(key_share=True))


def _next_number(account_id: int) -> int:
    query = select(func.max(SmtpSettings.number)).where(SmtpSettings.account_id == account_id)
    return (db.session.scalar(query) or 0) + 1


def _seal_password(version: SmtpSettings, password: str, saved: SmtpSettings | None, now: datetime) -> None:
    """Seal the new password, or the saved one if it still goes to the same server and user. No log-in has none."""
    version.password_saved_at = now
    if version.mechanism == Mechanism.NONE.value:
        password = ""
    elif not password and saved is not None and saved.grant_id is not None:
        version.grant_id = credentials.kept_grant(version, saved)
    elif not password:
        password, version.password_saved_at = credentials.kept_password(version, saved)
    credentials.seal(version, password)


def _clear_blocking(version: SmtpSettings) -> None:
    version.credential_warnings = [one | {"blocking": False} for one in version.credential_warnings]


def _last_live(account_id: int) -> SmtpSettings | None:
    """Return the version that was live last, also where it was stopped: a stop does not hide another server."""
    query = select(SmtpSettings).where(
        SmtpSettings.account_id == account_id, SmtpSettings.live_since.is_not(None)
    )
    return db.session.scalar(query.order_by(SmtpSettings.live_since.desc(), SmtpSettings.id.desc()).limit(1))


def _retire_live(account_id: int) -> None:
    db.session.execute(
        update(SmtpSettings)
        .where(SmtpSettings.account_id == account_id, SmtpSettings.state == VersionState.LIVE)
        .values(state=VersionState.RETIRED)
    )
