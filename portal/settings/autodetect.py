"""Detect for me: find the port and the encryption of a version that left them open."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .. import rate_limit
from ..db import db
from ..smtp.probe.autoconfig import SettingsNotFound, Suggestion, suggest_settings
from ..smtp.probe.port_detection import Candidate, Detection, detect_port
from ..smtp.protocol.stages import StageStatus
from ..smtp.server import Security, Server
from ..state import current_config
from . import credentials, providers
from .models import SmtpSettings

if TYPE_CHECKING:
    from ..accounts.models import Owner

GUESSES = rate_limit.Budget("find-settings", 20, timedelta(hours=1))
_LONGEST = 15.0  # seconds for all ports together; they are tried at once
_WORDS = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT_TLS: "SSL/TLS",
    Security.PLAINTEXT: "no encryption",
}
_ENCRYPTED = (Security.STARTTLS, Security.IMPLICIT_TLS)
_USUAL: tuple[Candidate, ...] = ((587, Security.STARTTLS), (465, Security.IMPLICIT_TLS))


class NoGuess(Exception):
    """There is no guess; the message is a sentence for the owner."""


def guess(owner: Owner, typed: str, *, now: datetime) -> Suggestion:
    """Return the settings that probably fit an address. Takes some seconds at most; commits. Raises NoGuess."""
    if not typed:
        raise NoGuess("Enter your email address, such as you@example.com.")
    allowed = rate_limit.spend(GUESSES, owner.account_id, now=now)
    db.session.commit()  # the look-up takes its time, and no transaction waits for it
    if not allowed:
        raise NoGuess(
            "Settings were looked for very often in the last hour. Choose your provider from the list."
        )
    try:
        return suggest_settings(typed, current_config().dns_servers)
    except (SettingsNotFound, ValueError) as why:
        raise NoGuess(str(why)) from None


def search(version_id: int) -> Detection:
    """Try the likely pairs of port and encryption, without the log-in. Ends the transaction first."""
    version = db.session.get_one(SmtpSettings, version_id)
    server = Server(
        host=version.host,
        port=version.port or 587,
        security=Security.STARTTLS,
        ehlo_name=current_config().ehlo_name,
        policy=current_config().policy,
        limits=replace(current_config().limits, deadline=min(_LONGEST, current_config().limits.deadline)),
    )
    pairs = _candidates(version)
    db.session.commit()  # the search takes its time, and no transaction waits for it
    return detect_port(server, candidates=pairs)


def keep(version: SmtpSettings, found: Candidate) -> None:
    """Store what was found, and seal the password for it. The caller commits. Raises SealBroken."""
    password = credentials.open_password(version)
    version.port, version.security = found[0], found[1].value
    credentials.seal(version, password)


def rung(found: Detection) -> dict[str, Any]:
    """Return what the search came to as a rung of the ladder."""
    sentence, verdict = "No port answered in a usable way.", StageStatus.FAILED
    if found.found:
        sentence, verdict = (
            f"Detected port {found.found[0]} with {_WORDS[found.found[1]]}.",
            StageStatus.PASSED,
        )
    tried = {f"{one.port}, {_WORDS[one.security]}": one.sentence for one in found.tried}
    row = {"stage": "detect", "verdict": verdict.value, "milliseconds": None}
    return row | {"sentence": sentence, "evidence": tried}


def nothing_found(host: str) -> dict[str, Any]:
    """Return the diagnosis of a search in vain."""
    return {
        "code": "detect-nothing",
        "kind": "network",
        "whose_move": "owner",
        "field": "host",
        "cause": f"No usual mail port of {host} answered in a way we can use.",
        "fixes": [
            "Compare the SMTP Server with your provider's page, or choose the port and encryption it names."
        ],
    }


def _candidates(version: SmtpSettings) -> list[Candidate]:
    """Return the pairs to try: the typed port both ways, or what the provider uses and the two usual ones."""
    if version.port:
        return [(version.port, security) for security in _ENCRYPTED]
    ports = [(port.number, port.security) for port in providers.provider_of(version.host).ports]
    return list(dict.fromkeys([*ports[:2], *_USUAL]))
