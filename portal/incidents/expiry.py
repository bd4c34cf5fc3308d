"""Expiry warnings: incidents for a certificate or a way to log in that ends on a known day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..languages import ENGLISH
from ..oauth import grants
from ..settings import deprecations, providers
from . import lifecycle
from .lifecycle import Failure
from .models import EndReason, IncidentKind

if TYPE_CHECKING:
    from ..settings.models import LoginProbe, SmtpSettings

_NOTICE = timedelta(days=14)  # how long before the day an incident is opened
_CERTIFICATE = "certificate-expiring"
_SECRET_NOTICE_DAYS = (1, 7, 30)  # each of them opens an incident of its own, and with it alerts again


def check(version: SmtpSettings, probe: LoginProbe, *, now: datetime) -> None:
    """Open an incident for each expiry within 14 days; close those that no longer apply. The caller commits."""
    server = f"{version.host}:{version.port}"
    diagnoses = [
        *_certificate(version, probe, now),
        *_deprecated_logins(version, now),
        *_client_secret(version, now),
    ]
    for diagnosis in diagnoses:
        failure = Failure(
            version.account_id,
            IncidentKind.DEADLINE,
            diagnosis,
            server=server,
            version_number=version.number,
            alert_delay=timedelta(),
        )
        lifecycle.record_failure(failure, now=now)
    codes = {diagnosis["code"] for diagnosis in diagnoses}
    for incident in lifecycle.open_incidents(version.account_id):
        if incident.kind is IncidentKind.DEADLINE and incident.cause not in codes:
            lifecycle.close(incident, EndReason.OVER, now=now)


def _certificate(version: SmtpSettings, probe: LoginProbe, now: datetime) -> list[dict[str, Any]]:
    until = probe.certificate_until
    if until is None or until > now + _NOTICE:
        return []
    return [
        {
            "code": _CERTIFICATE,
            "kind": "security",
            "whose_move": "provider",
            "cause": f"The certificate of {version.host} runs out on {until:%Y-%m-%d}. "
            "After that, no email leaves through it.",
            "fixes": [
                f"The operator of {version.host} renews the certificate, mostly some days before. "
                "If nothing has changed three days before that day, ask them."
            ],
        }
    ]


def _client_secret(version: SmtpSettings, now: datetime) -> list[dict[str, Any]]:
    grant = grants.find(version.account_id, version.grant_id) if version.grant_id is not None else None
    day = grant.secret_expires_on if grant is not None else None
    if grant is None or day is None:
        return []
    left = (day - now.date()).days
    notice = next((days for days in _SECRET_NOTICE_DAYS if left <= days), None)
    if notice is None:
        return []
    return [
        {
            "code": f"client-secret-ends-{notice}",
            "kind": "consent",
            "whose_move": "owner",
            "cause": f"The client secret that logs in as {grant.mailbox} expires on {day:%Y-%m-%d}.",
            "fixes": [
                "Make a new client secret at Microsoft, then choose Connect again on the page Email Preferences. "
                "The old one works until then."
            ],
        }
    ]


def _deprecated_logins(version: SmtpSettings, now: datetime) -> list[dict[str, Any]]:
    if version.grant_id is not None:  # what ends is always a log-in with a password
        return []
    card = providers.by_host(version.host)
    return [
        {
            "code": f"ending-{deprecation.day:%Y-%m-%d}",
            "kind": "login_disabled",
            "whose_move": "owner",
            "cause": f"{deprecation.provider}, {deprecation.write_date(ENGLISH)}: {deprecation.text}.",
            "fixes": [
                "Ask your provider what replaces it, save the new settings, and keep these until then."
            ],
        }
        for deprecation in deprecations.for_provider(card)
        if now.date() <= deprecation.day <= (now + _NOTICE).date()
    ]
