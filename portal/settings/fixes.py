"""Verified fixes: a changed setting that was tried successfully, stored with the failed check and applied on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..db import db
from ..outbox.routing import NoRoute
from ..smtp.diagnosis.diagnose import diagnose
from ..smtp.probe.fixes import FailedAttempt, VerifiedFix, find_fix
from ..smtp.providers import remove_spaces
from ..smtp.server import Mechanism, Security
from ..vault import DecryptionError
from . import credentials, providers, routing, validation, versions
from .checking import check_requests
from .models import SmtpSettings, VersionState
from .validation import InvalidSettings

if TYPE_CHECKING:
    from datetime import datetime

    from ..smtp.failure import SubmissionFailure
    from .checking.check_requests import SettingsSaver

_FIELDS = ("host", "port", "security", "username", "mechanism", "ehlo_name")
_VALUE_LABELS = {
    Security.STARTTLS.value: lazy_gettext("Off: STARTTLS"),
    Security.IMPLICIT_TLS.value: lazy_gettext("On: SSL/TLS"),
    Mechanism.AUTOMATIC.value: lazy_gettext("Automatic"),
}


def find(version_id: int, failure: SubmissionFailure, recipient: str) -> dict[str, Any] | None:
    """Return a verified fix for a failed version in its stored form, or None. Commits before it connects."""
    version = db.session.get_one(SmtpSettings, version_id)
    provider = providers.by_host(version.host)
    known = None if provider.id == "other" else provider
    try:
        route = routing.version_route(version)
    except NoRoute:
        return None
    before = {name: str(getattr(version, name)) for name in _FIELDS}
    before["ehlo_name"] = route.server.ehlo_name
    db.session.commit()  # no transaction stays open during the connections
    diagnosis = diagnose(failure, route.server, known, sender=route.sender)
    failed = FailedAttempt(route.server, failure, diagnosis, known)
    fix = find_fix(failed, sender=route.sender, recipient=recipient, envelope_sender=route.return_path())
    return _as_dict(fix, before) if fix else None


def _as_dict(fix: VerifiedFix, before: dict[str, str]) -> dict[str, Any]:
    change = fix.change
    after = {name: str(value) for name in _FIELDS if (value := getattr(change, name)) is not None}
    return {
        "code": change.code,
        "sentence": change.sentence,
        "values": {name: value for name, value in after.items() if value != before[name]},
        "before": before,
        "password_without_spaces": change.password_without_spaces,
    }


def changed_fields(fix: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the changes of a stored fix as (field, value before, value after) for the page, without any password."""
    changed = [
        (name, _VALUE_LABELS.get(fix["before"][name], fix["before"][name]), _VALUE_LABELS.get(value, value))
        for name, value in fix["values"].items()
    ]
    return (
        [*changed, ("password", _("with spaces"), _("without spaces"))]
        if fix["password_without_spaces"]
        else changed
    )


def apply(owner: SettingsSaver, version: SmtpSettings, *, now: datetime) -> SmtpSettings:
    """Save the version with its verified fix as the next version and check it. Commits. Raises InvalidSettings.

    The password is sealed again for the new version: the fix was verified with it, at the same server or at another
    server of the same provider in the catalogue.
    """
    check = check_requests.latest_check(version)
    if check is None or not check.fix:
        raise InvalidSettings({"": _("There is no longer a tested fix for this version. Check it again.")})
    try:
        password = credentials.open_password(version)
    except DecryptionError:
        raise InvalidSettings(
            {"password": _("The saved password can no longer be decrypted. Enter it again.")}
        ) from None
    if check.fix["password_without_spaces"]:
        password = remove_spaces(password)
    return versions.save_fixed(owner, _fixed_version(version, check.fix["values"]), password, now=now)


def send_as_mailbox(owner: SettingsSaver, version: SmtpSettings, *, now: datetime) -> SmtpSettings:
    """Save the version with the mailbox of its username as the sender, and check it. Commits. Raises InvalidSettings."""
    local, _at, domain = validation.replacing_mailbox(version).rpartition("@")
    if not local:
        raise InvalidSettings({"wrapped_user": _("This version already sends as its own mailbox.")})
    try:
        password = credentials.open_password(version)
    except DecryptionError:
        raise InvalidSettings(
            {"password": _("The saved password can no longer be decrypted. Enter it again.")}
        ) from None
    changed = _fixed_version(version, {"wrapped_user": local, "domain": domain})
    changed.credential_warnings = [
        one for one in version.credential_warnings if one["code"] != "other-domain"
    ]
    return versions.save_fixed(owner, changed, password, now=now)


def _fixed_version(version: SmtpSettings, values: dict[str, str]) -> SmtpSettings:
    """Return a new version that copies all settings except the changed values."""
    kept = {
        column.name: getattr(version, column.name)
        for column in SmtpSettings.__table__.columns
        if column.name not in {"id", "number", "state", "live_since", "created_at", "sealed_password"}
    }
    changed: dict[str, Any] = dict(values)
    if "port" in changed:
        changed["port"] = int(changed["port"])
    return SmtpSettings(**{**kept, **changed, "state": VersionState.DRAFT})
