"""What will go wrong on a known day: a certificate that runs out, a log-in that a provider ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..settings import deprecations, providers
from . import lifecycle
from .lifecycle import Failure
from .models import EndReason, IncidentKind

if TYPE_CHECKING:
    from ..settings.models import LoginProbe, SmtpSettings

SOON = timedelta(days=14)
_CERTIFICATE = "certificate-expiring"


def check(version: SmtpSettings, probe: LoginProbe, *, now: datetime) -> None:
    """Open what ends within two weeks, and close what no longer does. The caller commits."""
    server = f"{version.host}:{version.port}"
    found = [*_certificate(version, probe, now), *_provider(version, now)]
    for diagnosis in found:
        trouble = Failure(
            version.account_id,
            IncidentKind.DEADLINE,
            diagnosis,
            server=server,
            version_number=version.number,
            alert_delay=timedelta(),
        )
        lifecycle.record_failure(trouble, now=now)
    codes = {diagnosis["code"] for diagnosis in found}
    for incident in lifecycle.open_incidents(version.account_id):
        if incident.kind is IncidentKind.DEADLINE and incident.cause not in codes:
            lifecycle.close(incident, EndReason.OVER, now=now)


def _certificate(version: SmtpSettings, probe: LoginProbe, now: datetime) -> list[dict[str, Any]]:
    until = probe.certificate_until
    if until is None or until > now + SOON:
        return []
    return [
        {
            "code": _CERTIFICATE,
            "kind": "security",
            "whose_move": "provider",
            "cause": f"The certificate of {version.host} runs out on {until.day} {until:%B %Y}. "
            "After that, no email leaves through it.",
            "fixes": [
                f"Whoever runs {version.host} renews the certificate, mostly some days before. "
                "If nothing has changed three days before that day, ask them."
            ],
        }
    ]


def _provider(version: SmtpSettings, now: datetime) -> list[dict[str, Any]]:
    card = providers.by_host(version.host)
    return [
        {
            "code": f"ending-{one.day:%Y-%m-%d}",
            "kind": "login_disabled",
            "whose_move": "owner",
            "cause": f"{one.provider}, {one.date_text}: {one.text}.",
            "fixes": [
                "Ask your provider what replaces it, save the new settings, and keep these until then."
            ],
        }
        for one in deprecations.for_provider(card)
        if now.date() <= one.day <= (now + SOON).date()
    ]
