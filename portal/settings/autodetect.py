"""Autodetection: suggest settings for an email address, and detect the port and encryption of a server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..db import db
from ..smtp.probe.autoconfig import SettingsNotFound, Suggestion, suggest_settings
from ..smtp.probe.port_detection import Candidate, Detection, detect_port
from ..smtp.protocol.stages import StageStatus
from ..smtp.server import Security, Server
from ..state import current_config
from ..web import owner_limits
from ..web.translations import translated
from . import credentials, providers
from .models import SmtpSettings

if TYPE_CHECKING:
    from datetime import datetime

    from ..accounts.models import Owner

DEADLINE_S = 15.0  # for all ports together, which are tried in parallel
_SECURITY_LABELS = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT_TLS: "SSL/TLS",
    Security.PLAINTEXT: lazy_gettext("no encryption"),
}
_ENCRYPTED = (Security.STARTTLS, Security.IMPLICIT_TLS)
_USUAL_PORTS: tuple[Candidate, ...] = ((587, Security.STARTTLS), (465, Security.IMPLICIT_TLS))


class NoSuggestion(Exception):
    """No settings can be suggested. The message is a sentence for the owner."""


def suggest(owner: Owner, address: str, *, now: datetime) -> Suggestion:
    """Return settings that probably fit an email address or domain, looked up in the DNS and the catalogue.

    Takes a few seconds at most. Commits. Raises NoSuggestion or LimitReached.
    """
    if not address:
        raise NoSuggestion(_("Enter your email address, such as you@example.com."))
    owner_limits.count(owner_limits.SUGGESTIONS, owner.account_id, now=now)
    try:
        return suggest_settings(address, current_config().dns_servers)
    except (SettingsNotFound, ValueError) as error:
        raise NoSuggestion(translated(str(error))) from None


def find_port(version_id: int) -> Detection:
    """Try the likely pairs of port and encryption without logging in. Commits before it connects."""
    version = db.session.get_one(SmtpSettings, version_id)
    server = Server(
        host=version.host,
        port=version.port or 587,
        security=Security.STARTTLS,
        ehlo_name=current_config().ehlo_name,
        policy=current_config().policy,
        limits=replace(current_config().limits, deadline=min(DEADLINE_S, current_config().limits.deadline)),
    )
    candidates = _candidates(version)
    db.session.commit()  # no transaction stays open during the connections
    return detect_port(server, candidates=candidates)


def store_port(version: SmtpSettings, detected: Candidate) -> None:
    """Store a detected port and encryption, and seal the password again for them. The caller commits.

    Raises DecryptionError.
    """
    password = credentials.open_password(version)
    version.port, version.security = detected[0], detected[1].value
    credentials.seal(version, password)


def stage_result(detection: Detection) -> dict[str, Any]:
    """Return the outcome of the detection as a stage result, as stored with the check."""
    sentence, status = _("No port accepted a mail connection."), StageStatus.FAILED
    if detection.found:
        port, security = detection.found
        sentence, status = (
            _("Found port %(port)s with %(encryption)s.", port=port, encryption=_SECURITY_LABELS[security]),
            StageStatus.PASSED,
        )
    return {
        "stage": "detect",
        "verdict": status.value,
        "milliseconds": None,
        "sentence": sentence,
        "evidence": {
            f"{one.port}, {_SECURITY_LABELS[one.security]}": one.sentence for one in detection.tried
        },
    }


def not_found_diagnosis(host: str) -> dict[str, Any]:
    """Return the diagnosis for a server on which no usable port was found."""
    return {
        "code": "detect-nothing",
        "kind": "network",
        "whose_move": "owner",
        "field": "host",
        "cause": _("No usual mail port of %(host)s accepted a mail connection.", host=host),
        "fixes": [
            _(
                "Compare the SMTP Server with your provider's page, or choose the port and encryption it names."
            )
        ],
    }


def _candidates(version: SmtpSettings) -> list[Candidate]:
    """Return the pairs to try: the entered port with both encryptions, or two of the provider and the two usual ones."""
    if version.port:
        return [(version.port, security) for security in _ENCRYPTED]
    ports = [(port.number, port.security) for port in providers.by_host(version.host).ports]
    return list(dict.fromkeys([*ports[:2], *_USUAL_PORTS]))
