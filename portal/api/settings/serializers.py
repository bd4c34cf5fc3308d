"""A version of the SMTP settings with its newest check as JSON. No password, sealed or not, is part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...settings import domain_proof
from ...settings.checking import check_requests, check_view

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ...settings.models import SettingsCheck, SmtpSettings


def version_json(version: SmtpSettings) -> dict[str, Any]:
    """Return a version. ``port`` is null until the check has detected it."""
    proof = domain_proof.record_for(version)
    return {
        "number": version.number,
        "state": version.state.value,
        "waits_for_person": version.waits_for_person,
        "provider": version.provider,
        "host": version.host,
        "port": version.port or None,
        "security": version.security,
        "mechanism": version.mechanism,
        "username": version.username,
        "sender": version.sender,
        "from_name": version.from_name,
        "reply_to": version.reply_to,
        "ehlo_name": version.ehlo_name,
        "envelope_sender": version.envelope_sender,
        "headers": [f"{name}: {value}" for name, value in version.headers],
        "messages_per_connection": version.messages_per_connection,
        "reply_seconds": version.reply_seconds,
        "saved_at": version.created_at.isoformat(),
        "saved_by": version.saved_by,
        "live_since": _iso(version.live_since),
        "warnings": [
            {name: one[name] for name in ("code", "field", "sentence", "blocking")}
            for one in version.credential_warnings
        ],
        "domain_record": {"name": proof.name, "type": "TXT", "value": proof.value}
        if proof and proof.can_be_set
        else None,
        "check": _check_json(check_requests.latest_check(version)),
    }


def _check_json(check: SettingsCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "state": check.state.value,
        "recipient": check.recipient,
        "created_at": check.created_at.isoformat(),
        "ended_at": _iso(check.ended_at),
        "stages": [
            {name: one[name] for name in ("stage", "verdict", "sentence", "milliseconds")}
            for one in check.stages
        ],
        "diagnosis": _diagnosis_json(check),
        "fix": {name: check.fix[name] for name in ("code", "sentence", "values")} if check.fix else None,
    }


def _diagnosis_json(check: SettingsCheck) -> dict[str, Any] | None:
    shown = check_view.diagnosis(check)
    if shown is None or check.diagnosis is None:
        return None
    fixes: Sequence[str] = check_view.steps(shown, check_view.verified_fix(check))
    return {
        "code": str(check.diagnosis["code"]),
        "kind": str(check.diagnosis["kind"]),
        "whose_move": str(check.diagnosis["whose_move"]),
        "field": shown.field or None,
        "cause": shown.cause,
        "fixes": list(fixes),
        "reply": shown.reply,
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
