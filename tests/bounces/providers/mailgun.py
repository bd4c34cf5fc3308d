"""Mailgun's calls, as its documentation describes their form, with our own values."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any

from portal.clock import utcnow
from tests.bounces.support import Sent

KEY = "a-signing-key-of-the-tests"


def call(
    event: dict[str, Any], *, key: str = KEY, token: str = "", at: datetime | None = None
) -> dict[str, Any]:
    """Return a signed call with one event."""
    token, timestamp = token or secrets.token_hex(25), str(int((at or utcnow()).timestamp()))
    mac = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"signature": {"timestamp": timestamp, "token": token, "signature": mac}, "event-data": event}


def event(sent: Sent, kind: str, **more: Any) -> dict[str, Any]:
    """Return an event about a message; it names it by our variable and by its Message-ID."""
    base = {
        "event": kind,
        "id": hashlib.sha256(f"{sent.id} {kind} {sorted(more.items())}".encode()).hexdigest()[:22],
        "timestamp": utcnow().timestamp() // 1,
        "log-level": "info",
        "recipient": sent.recipient,
        "recipient-domain": sent.recipient.rpartition("@")[2],
        "user-variables": {"signet": sent.reference},
        "message": {"headers": {"message-id": sent.header_id.strip("<>"), "to": sent.recipient}, "size": 512},
        "tags": [],
    }
    return base | more


def failed(
    sent: Sent, *, severity: str = "permanent", reason: str = "bounce", **status: Any
) -> dict[str, Any]:
    """Return an event of a failure; by default of an unknown mailbox."""
    known = {
        "code": 550,
        "message": "5.1.1 The mailbox you wrote to is unknown here",
        "description": "",
        "attempt-no": 1,
        "mx-host": "mx.receiver.example",
    }
    return event(sent, "failed", severity=severity, reason=reason, **{"delivery-status": known | status})
