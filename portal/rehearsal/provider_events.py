"""What each provider would report of a received message: its events, in the form that it documents, with its proof.

The events name the message as the provider would. Signed calls are signed with keys that are derived from SECRET_KEY and
verified with them, whatever key is saved with the hook. A right signature of SNS cannot be played.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..state import current_config


class PlayedKind(StrEnum):
    """One event of a provider."""

    HARD = "hard"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    LISTED = "listed"  # on the provider's own list


@dataclass(frozen=True)
class PlayedMessage:
    """A received message, by what events name."""

    reference: str
    queue_id: str
    header_id: str
    recipient: str


@dataclass(frozen=True)
class PlayedCall:
    """One POST of a provider, with headers in lower case."""

    body: bytes
    headers: Mapping[str, str]


_Build = Callable[[PlayedMessage, PlayedKind, datetime], Any]
_UNKNOWN, _LATER = "550 5.1.1 There is no such mailbox", "451 4.7.1 Try again later"


def build_call(provider: str, message: PlayedMessage, kind: PlayedKind, *, now: datetime) -> PlayedCall:
    """Return the provider's call about one event. Raises KeyError for a provider that is not played."""
    payload = _BUILDERS[provider](message, kind, now)
    body = json.dumps(payload).encode()
    return PlayedCall(body, _SIGNERS[provider](body, now) if provider in _SIGNERS else {})


def key_of(provider: str) -> str:
    """Return the key that the owner would paste from the provider's console; empty if there is none."""
    if provider == "mailgun":
        return _derived(provider).hex()
    if provider == "resend":
        return "whsec_" + base64.b64encode(_derived(provider)).decode()
    if provider == "sendgrid":
        public = _private_key().public_key()
        kinds = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(public.public_bytes(*kinds)).decode()
    return ""


def is_played(provider: str) -> bool:
    """Return whether events of this provider can be played."""
    return provider in _BUILDERS


def _derived(provider: str) -> bytes:
    secret = current_config().secret_key.encode()
    return hmac.new(secret, f"rehearsal hook {provider}".encode(), hashlib.sha256).digest()


def _private_key() -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(_derived("sendgrid"), "big") >> 1  # below the order of the curve
    return ec.derive_private_key(number, ec.SECP256R1())


def _sign_sendgrid(body: bytes, now: datetime) -> dict[str, str]:
    timestamp = str(int(now.timestamp()))
    signature = _private_key().sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


def _sign_resend(body: bytes, now: datetime) -> dict[str, str]:
    svix_id, timestamp = f"msg_{secrets.token_hex(12)}", str(int(now.timestamp()))
    mac = hmac.new(_derived("resend"), f"{svix_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "svix-id": svix_id,
        "svix-timestamp": timestamp,
        "svix-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


_SIGNERS: Mapping[str, Callable[[bytes, datetime], dict[str, str]]] = {
    "sendgrid": _sign_sendgrid,
    "resend": _sign_resend,
}


def _mailgun(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    token, timestamp = secrets.token_hex(25), str(int(now.timestamp()))
    mac = hmac.new(key_of("mailgun").encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    failure = {"severity": "permanent", "reason": "bounce"}
    details: Mapping[PlayedKind, dict[str, Any]] = {
        PlayedKind.HARD: failure | {"delivery-status": {"code": 550, "message": _UNKNOWN[4:]}},
        PlayedKind.LISTED: {**failure, "reason": "suppress-bounce", "delivery-status": {"code": 605}},
        PlayedKind.DELAYED: {
            "severity": "temporary",
            "reason": "generic",
            "delivery-status": {"code": 451, "message": _LATER[4:]},
        },
    }
    names = {PlayedKind.DELIVERED: "delivered", PlayedKind.COMPLAINT: "complained"}
    event = {
        "id": secrets.token_hex(11),
        "event": names.get(kind, "failed"),
        "timestamp": now.timestamp(),
        "recipient": message.recipient,
        "user-variables": {"signet": message.reference},
        "message": {"headers": {"message-id": message.header_id.strip("<>")}},
        **details.get(kind, {}),
    }
    return {"signature": {"timestamp": timestamp, "token": token, "signature": mac}, "event-data": event}


def _sendgrid(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    details: Mapping[PlayedKind, dict[str, str]] = {
        PlayedKind.HARD: {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": _UNKNOWN},
        PlayedKind.LISTED: {"event": "dropped", "reason": "Bounced Address"},
        PlayedKind.DELAYED: {"event": "deferred", "response": _LATER},
        PlayedKind.DELIVERED: {"event": "delivered", "response": "250 OK"},
        PlayedKind.COMPLAINT: {"event": "spamreport"},
    }
    base = {
        "email": message.recipient,
        "timestamp": int(now.timestamp()),
        "sg_event_id": secrets.token_urlsafe(16),
        "sg_message_id": f"{message.queue_id}.recvd-0",
        "signet": message.reference,
    }
    return [base | details[kind]]


def _postmark(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    base = {"MessageID": message.queue_id, "Metadata": {"signet": message.reference}}
    at = now.isoformat()
    if kind is PlayedKind.DELIVERED:
        return base | {"RecordType": "Delivery", "Recipient": message.recipient, "DeliveredAt": at}
    if kind is PlayedKind.LISTED:
        more = {"SuppressSending": True, "SuppressionReason": "HardBounce", "ChangedAt": at}
        return base | more | {"RecordType": "SubscriptionChange", "Recipient": message.recipient}
    types = {
        PlayedKind.HARD: ("Bounce", "HardBounce", _UNKNOWN),
        PlayedKind.DELAYED: ("Bounce", "Transient", _LATER),
        PlayedKind.COMPLAINT: ("SpamComplaint", "SpamComplaint", ""),
    }
    record, name, words = types[kind]
    identity = {"ID": secrets.randbelow(10**9), "RecordType": record, "Type": name}
    return base | identity | {"Email": message.recipient, "Details": words, "BouncedAt": at}


def _brevo(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    names = {
        PlayedKind.HARD: ("hard_bounce", _UNKNOWN),
        PlayedKind.LISTED: ("blocked", ""),
        PlayedKind.DELAYED: ("deferred", _LATER),
        PlayedKind.DELIVERED: ("delivered", ""),
        PlayedKind.COMPLAINT: ("spam", ""),
    }
    event, reason = names[kind]
    return {
        "event": event,
        "reason": reason,
        "email": message.recipient,
        "message-id": message.header_id,
        "ts_epoch": int(now.timestamp() * 1000),
        "X-Mailin-custom": f"signet:{message.reference}",
    }


def _mailjet(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    details: Mapping[PlayedKind, dict[str, Any]] = {
        PlayedKind.HARD: {"event": "bounce", "hard_bounce": True, "error": "user unknown"},
        PlayedKind.LISTED: {"event": "blocked", "error": "preblocked"},
        PlayedKind.DELAYED: {"event": "bounce", "hard_bounce": False, "error": "greylisted"},
        PlayedKind.DELIVERED: {"event": "sent", "smtp_reply": "250 OK"},
        PlayedKind.COMPLAINT: {"event": "spam"},
    }
    base = {
        "time": int(now.timestamp()),
        "MessageID": secrets.randbelow(2**62),
        "CustomID": message.reference,
    }
    return [base | {"email": message.recipient} | details[kind]]


def _sparkpost(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    details = {
        PlayedKind.HARD: {"type": "bounce", "bounce_class": "10", "raw_reason": _UNKNOWN},
        PlayedKind.LISTED: {
            "type": "policy_rejection",
            "raw_reason": "554 5.7.1 recipient address suppressed",
        },
        PlayedKind.DELAYED: {"type": "delay", "bounce_class": "20", "raw_reason": _LATER},
        PlayedKind.DELIVERED: {"type": "delivery"},
        PlayedKind.COMPLAINT: {"type": "spam_complaint"},
    }
    base = {
        "event_id": str(secrets.randbelow(10**17)),
        "raw_rcpt_to": message.recipient,
        "rcpt_meta": {"signet": message.reference},
        "timestamp": str(int(now.timestamp())),
    }
    return [{"msys": {"message_event": base | details[kind]}}]


def _resend(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    names = {
        PlayedKind.LISTED: "email.suppressed",
        PlayedKind.DELAYED: "email.delivery_delayed",
        PlayedKind.DELIVERED: "email.delivered",
        PlayedKind.COMPLAINT: "email.complained",
    }
    data: dict[str, Any] = {
        "email_id": message.queue_id,
        "to": [message.recipient],
        "headers": [{"name": "X-Signet-Ref", "value": message.reference}],
    }
    if kind is PlayedKind.HARD:
        data["bounce"] = {"type": "Permanent", "subType": "General", "message": _UNKNOWN}
    return {"type": names.get(kind, "email.bounced"), "created_at": now.isoformat(), "data": data}


def _ses(message: PlayedMessage, kind: PlayedKind, now: datetime) -> Any:
    """Return an SNS notification without a signature; the caller records its events without verifying one."""
    at, who = now.isoformat(), {"emailAddress": message.recipient}
    refused = {**who, "status": "5.1.1", "diagnosticCode": _UNKNOWN}
    bounced = {"timestamp": at, "bounceType": "Permanent", "bouncedRecipients": [refused]}
    delayed = {**who, "status": "4.7.1", "diagnosticCode": _LATER}
    details: Mapping[PlayedKind, tuple[str, dict[str, Any]]] = {
        PlayedKind.HARD: ("Bounce", bounced | {"bounceSubType": "General"}),
        PlayedKind.LISTED: ("Bounce", bounced | {"bounceSubType": "OnAccountSuppressionList"}),
        PlayedKind.DELAYED: ("DeliveryDelay", {"timestamp": at, "delayedRecipients": [delayed]}),
        PlayedKind.DELIVERED: ("Delivery", {"timestamp": at, "recipients": [message.recipient]}),
        PlayedKind.COMPLAINT: ("Complaint", {"timestamp": at, "complainedRecipients": [who]}),
    }
    name, event = details[kind]
    mail = {"messageId": message.queue_id, "headers": [{"name": "X-Signet-Ref", "value": message.reference}]}
    inner = {"eventType": name, "mail": mail, name[:1].lower() + name[1:]: event}
    return {"Type": "Notification", "MessageId": secrets.token_hex(16), "Message": json.dumps(inner)}


_BUILDERS: Mapping[str, _Build] = {
    "ses": _ses,
    "brevo": _brevo,
    "mailgun": _mailgun,
    "mailjet": _mailjet,
    "postmark": _postmark,
    "resend": _resend,
    "sendgrid": _sendgrid,
    "sparkpost": _sparkpost,
}
