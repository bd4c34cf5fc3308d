"""What the audit trail states of the SMTP settings: of a password only that it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models import SmtpSettings

_FIELDS = (
    "provider", "host", "port", "security", "mechanism", "username", "sender", "from_name", "reply_to", "ehlo_name",
    "envelope_sender", "messages_per_connection", "reply_seconds",
)  # fmt: skip


def values_of(version: SmtpSettings | None) -> dict[str, Any]:
    """Return the values of a version that are not empty."""
    if version is None:
        return {}
    found = {name: getattr(version, name) for name in _FIELDS}
    found["headers"] = "; ".join(f"{name}: {value}" for name, value in version.headers or ())
    return {name: value for name, value in found.items() if value not in ("", None, 0)}


def record(
    action: audit.Activity,
    version: SmtpSettings,
    before: Mapping[str, Any] | None = None,
    *,
    password: bool = False,
) -> None:
    """Record an action on a version, with what differs from before. The caller commits."""
    after = {} if before is None else values_of(version)
    if password:
        after["password"] = "changed"
    target = audit.AuditTarget("version", version.number)
    audit.record(action, version.account_id, target=target, before=before or {}, after=after)
