"""Apply this fix and test again: a change that the engine has proved, kept with the check that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..db import db
from ..outbox.routing import NoRoute
from ..smtp.diagnosis.diagnose import diagnose
from ..smtp.probe.fixes import FailedAttempt, VerifiedFix, find_fix
from ..smtp.providers import remove_spaces
from ..smtp.server import Mechanism, Security
from ..vault import SealBroken
from . import credentials, providers, routing, versions
from .models import SmtpSettings, State
from .validation import SettingsRefused

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner
    from ..smtp.failure import SubmissionFailure

_FIELDS = ("host", "port", "security", "username", "mechanism", "ehlo_name")
_WORDS = {
    Security.STARTTLS.value: "Off: STARTTLS",
    Security.IMPLICIT_TLS.value: "On: SSL/TLS",
    Mechanism.AUTOMATIC.value: "Automatic",
}


def look_for(version_id: int, failure: SubmissionFailure, recipient: str) -> dict[str, Any] | None:
    """Return a proved change of this version as it is stored, or None. Ends the transaction first."""
    version = db.session.get_one(SmtpSettings, version_id)
    provider = providers.provider_of(version.host)
    known = None if provider.id == "other" else provider
    try:
        route = routing.route_of(version)
    except NoRoute:
        return None
    before = {name: str(getattr(version, name)) for name in _FIELDS}
    before["ehlo_name"] = route.server.ehlo_name
    db.session.commit()  # climbing takes its time, and no transaction waits for it
    diagnosis = diagnose(failure, route.server, known, sender=route.sender)
    failed = FailedAttempt(route.server, failure, diagnosis, known)
    fix = find_fix(failed, sender=route.sender, recipient=recipient)
    return _stored(fix, before) if fix else None


def _stored(fix: VerifiedFix, before: dict[str, str]) -> dict[str, Any]:
    change = fix.change
    after = {name: str(value) for name in _FIELDS if (value := getattr(change, name)) is not None}
    return {
        "code": change.code,
        "sentence": change.sentence,
        "values": {name: value for name, value in after.items() if value != before[name]},
        "before": before,
        "password_without_spaces": change.password_without_spaces,
    }


def rows(cure: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what would change as (field, before, after) in the page's words; never the password."""
    changed = [
        (name, _WORDS.get(cure["before"][name], cure["before"][name]), _WORDS.get(value, value))
        for name, value in cure["values"].items()
    ]
    return (
        [*changed, ("password", "with spaces", "without spaces")]
        if cure["password_without_spaces"]
        else changed
    )


def apply(owner: Owner, version: SmtpSettings, *, now: datetime) -> SmtpSettings:
    """Save the version with its proved change as the next one and check it. Commits. Raises SettingsRefused.

    The password goes along, resealed: the change was proved with it, towards the same server or another of
    the same provider's that stands in our own catalogue.
    """
    check = versions.latest_check(version)
    if check is None or not check.fix:
        raise SettingsRefused({"": "There is no proved fix for this version any more. Check it again."})
    try:
        password = credentials.open_password(version)
    except SealBroken:
        raise SettingsRefused(
            {"password": "The saved password cannot be opened any more. Enter it again."}
        ) from None
    if check.fix["password_without_spaces"]:
        password = remove_spaces(password)
    return versions.save_mended(owner, _mended(version, check.fix["values"]), password, now=now)


def _mended(version: SmtpSettings, values: dict[str, str]) -> SmtpSettings:
    """Return the next version: everything as it was but for the change."""
    kept = {
        column.name: getattr(version, column.name)
        for column in SmtpSettings.__table__.columns
        if column.name not in {"id", "number", "state", "live_since", "created_at", "sealed_password"}
    }
    changed: dict[str, Any] = dict(values)
    if "port" in changed:
        changed["port"] = int(changed["port"])
    return SmtpSettings(**{**kept, **changed, "state": State.DRAFT})
