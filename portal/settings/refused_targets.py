"""Refused targets in the security log: servers that an owner entered and that the SSRF guard does not permit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..security_log import SecurityEvent, record
from ..smtp.failure import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..outbox.models import Outcome
    from ..outbox.store.types import Claim
    from ..smtp.probe.port_detection import Detection

_CODES = {"target-not-allowed", "port-not-allowed"}  # of the diagnoses of Reason.TARGET_REFUSED


def on_attempt_settled(
    account_id: int | None,
    claim: Claim,
    _outcome: Outcome,
    diagnosis: Mapping[str, Any] | None,
    server: str,
) -> None:
    """Record that the guard refused the server of a check or of an email."""
    if diagnosis is not None and diagnosis.get("code") in _CODES:
        purpose = "mail" if claim.message.forced_version_id is None else "check"
        record(SecurityEvent.TARGET_REFUSED, account=account_id, target=server, purpose=purpose)


def record_detection(account_id: int, host: str, detection: Detection) -> None:
    """Record that the guard refused the server whose port was to be detected."""
    if any(one.reason is Reason.TARGET_REFUSED for one in detection.tried):
        record(SecurityEvent.TARGET_REFUSED, account=account_id, target=host, purpose="detection")
