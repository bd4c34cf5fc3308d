"""SendGrid's Event Webhook: batches, signed with ECDSA over a timestamp and the body as it came.

Source: twilio.com/docs/sendgrid, Event Webhook Reference and Security Features. An event may come many times.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Call, Forged, Item, decode_items

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE, _TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
_OLDEST = timedelta(hours=25)  # failed calls are repeated for a day
_CLOCK_SKEW = timedelta(minutes=15)
_MEANINGS = {
    "delivered": Meaning.DELIVERED,
    "deferred": Meaning.DELAYED,
    "spamreport": Meaning.COMPLAINT,
    "unsubscribe": Meaning.UNSUBSCRIBED,
    "group_unsubscribe": Meaning.UNSUBSCRIBED,
}
_IGNORED = frozenset({"processed", "open", "click", "group_resubscribe"})
_DROPPED = {  # why SendGrid did not send it
    "bounced address": Meaning.HARD,
    "invalid": Meaning.HARD,
    "spam reporting address": Meaning.COMPLAINT,
    "unsubscribed address": Meaning.UNSUBSCRIBED,
}
_CLASSIFIED = {
    "invalid address": Meaning.HARD,
    "technical": Meaning.SOFT,
    "content": Meaning.BLOCKED,
    "reputation": Meaning.BLOCKED,
    "frequency or volume too high": Meaning.BLOCKED,
    "mailbox unavailable": Meaning.SOFT,
}


def _public_key(text: str) -> ec.EllipticCurvePublicKey | None:
    """Return the key that a text holds as SendGrid shows it, or None if it holds none."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _verify(call: Call) -> None:
    key, timestamp = _public_key(call.key), call.headers.get(_TIMESTAMP, "")
    try:
        signature = base64.b64decode(call.headers.get(_SIGNATURE, ""), validate=True)
        at = datetime.fromtimestamp(int(timestamp), tz=UTC)
    except (binascii.Error, ValueError, OverflowError, OSError):
        raise Forged from None
    if key is None:
        raise Forged
    try:
        key.verify(signature, timestamp.encode() + call.body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Forged from None
    if not call.now - _OLDEST <= at <= call.now + _CLOCK_SKEW:
        raise Forged


def _read(call: Call) -> Iterator[Report]:
    for event in decode_items(call.body):
        if event.text("event") not in _IGNORED:
            yield _report(event)


def _report(event: Item) -> Report:
    kind, reason = event.text("event"), event.text("reason") or event.text("response")
    return Report(
        meaning=_meaning(event),
        key=event.text("sg_event_id") or event.digest,
        kind=", ".join(
            part for part in (kind, event.text("type"), event.text("bounce_classification")) if part
        ),
        recipient=event.text("email"),
        occurred_at=event.seconds("timestamp"),
        status=event.text("status") or enhanced_code(reason),
        reply_code=reply_code(reason),
        reason=reason,
        reference=event.text("signet"),
        queue_id=event.text("sg_message_id").partition(".")[0],
        header_id=event.text("smtp-id"),
        is_listed=kind == "dropped" and reason.lower() in _DROPPED,
        raw=event.raw,
    )


def _meaning(event: Item) -> Meaning:
    kind, reason = event.text("event"), event.text("reason")
    if kind == "dropped":
        return _DROPPED.get(reason.lower(), Meaning.BLOCKED)
    if kind != "bounce":
        return _MEANINGS.get(kind, Meaning.UNKNOWN)
    if event.text("type") == "blocked":
        return Meaning.BLOCKED
    default = _CLASSIFIED.get(event.text("bounce_classification").lower(), Meaning.HARD)
    return classify(event.text("status"), reason, default=default)


SENDGRID = Adapter(
    "sendgrid",
    "SendGrid",
    _read,
    _verify,
    "Verification Key",
    is_key_secret=False,
    is_key=lambda text: _public_key(text) is not None,
)
