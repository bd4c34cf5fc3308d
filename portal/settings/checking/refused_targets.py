"""Refused targets in the security log: servers that an owner entered and that the SSRF guard does not permit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...security_log import SecurityEvent, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...outbox.models import Outcome
    from ...outbox.store.types import Claim
    from ...smtp.probe.port_detection import Detection


def on_attempt_settled(
    account_id: int | None,
    claim: Claim,
    _outcome: Outcome,
    _diagnosis: Mapping[str, Any] | None,
    server: str,
) -> None:
    """Record that the guard refused the server of a check or of an email."""
    if claim.is_refused_target:
        purpose = "mail" if claim.message.forced_version_id is None else "check"
        record(SecurityEvent.TARGET_REFUSED, account=account_id, target=server, purpose=purpose)


def record_detection(account_id: int, host: str, detection: Detection) -> None:
    """Record that the guard refused the server whose port was to be detected."""
    if any(one.is_refused_target for one in detection.tried):
        record(SecurityEvent.TARGET_REFUSED, account=account_id, target=host, purpose="detection")


def record_probe(account_id: int, server: str) -> None:
    """Record that the guard refused the server of a daily log-in, whose name leads elsewhere by now."""
    record(SecurityEvent.TARGET_REFUSED, account=account_id, target=server, purpose="log-in")
