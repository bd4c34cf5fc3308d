"""Resend's webhooks: one event in each call, signed as Svix does, over id, timestamp and the body as it came.

Source: resend.com/docs/webhooks, docs.svix.com (Verifying manually).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Call, Forged, Item, decode_item

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOLERANCE = timedelta(minutes=5)  # a repeated call is signed anew
_PREFIX = "whsec_"
_MAX_SIGNATURES = 20
_MEANINGS = {
    "email.delivered": Meaning.DELIVERED,
    "email.delivery_delayed": Meaning.DELAYED,
    "email.complained": Meaning.COMPLAINT,
    "email.failed": Meaning.BLOCKED,  # by Resend: quota, domain, settings
}
_IGNORED = frozenset({"email.sent", "email.scheduled", "email.opened", "email.clicked", "email.received"})
_BY_TYPE = {"permanent": Meaning.HARD, "transient": Meaning.SOFT, "undetermined": Meaning.SOFT}
_BY_SUBTYPE = {
    "contentrejected": Meaning.BLOCKED,
    "attachmentrejected": Meaning.BLOCKED,
    "messagetoolarge": Meaning.SOFT,
    "mailboxfull": Meaning.SOFT,
    "noemail": Meaning.HARD,
    "suppressed": Meaning.HARD,
    "onaccountsuppressionlist": Meaning.HARD,
}
_LISTS = ("suppressed", "onaccountsuppressionlist")
_REFERENCE = "x-signet-ref"


def _octets(key: str) -> bytes:
    """Return the key of the HMAC; empty if the text is no signing secret."""
    try:
        return base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _verify(call: Call) -> None:
    svix_id, timestamp = call.headers.get("svix-id", ""), call.headers.get("svix-timestamp", "")
    key = _octets(call.key)
    try:
        at = datetime.fromtimestamp(int(timestamp), tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise Forged from None
    signed = f"{svix_id}.{timestamp}.".encode("utf-8", "replace") + call.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    given = call.headers.get("svix-signature", "").split(" ")[:_MAX_SIGNATURES]
    fits = [
        hmac.compare_digest(one.removeprefix("v1,").encode("utf-8", "replace"), expected)
        for one in given
        if one.startswith("v1,")
    ]
    if not (key and svix_id and any(fits)):
        raise Forged
    if abs(call.now - at) > _TOLERANCE:
        raise Forged


def _read(call: Call) -> Iterator[Report]:
    event = decode_item(call.body)
    kind = event.text("type")
    if kind in _IGNORED or not kind.startswith("email."):
        if not kind:
            yield Report(Meaning.UNKNOWN, event.digest, raw=event.raw)
        return
    data, bounce = event.item("data"), event.item("data", "bounce")
    words = bounce.text("diagnosticCode") or bounce.text("message") or data.text("failed", "reason")
    words = words or data.text("suppressed", "message")
    subtype = (bounce.text("subType") or data.text("suppressed", "type")).lower()
    yield Report(
        meaning=_meaning(kind, bounce, subtype),
        key=call.headers["svix-id"],
        kind=", ".join(part for part in (kind, bounce.text("type"), bounce.text("subType")) if part),
        recipient=next(iter(data.texts("to")), ""),
        occurred_at=event.moment("created_at"),
        status=enhanced_code(words),
        reply_code=reply_code(words),
        reason=words,
        reference=_reference(data),
        queue_id=data.text("email_id"),
        header_id=data.text("message_id"),
        is_listed=kind == "email.suppressed" or subtype in _LISTS,
        raw=event.raw,
    )


def _reference(data: Item) -> str:
    for header in data.items("headers"):
        if header.text("name").lower() == _REFERENCE:
            return header.text("value")
    return data.text("tags", "signet")


def _meaning(kind: str, bounce: Item, subtype: str) -> Meaning:
    if kind == "email.suppressed":
        return Meaning.HARD
    if kind != "email.bounced":
        return _MEANINGS.get(kind, Meaning.UNKNOWN)
    if subtype in _BY_SUBTYPE:
        return _BY_SUBTYPE[subtype]
    default = _BY_TYPE.get(bounce.text("type").lower(), Meaning.SOFT)
    return classify("", bounce.text("diagnosticCode"), default=default)


RESEND = Adapter(
    "resend", "Resend", _read, _verify, "Signing Secret", is_key=lambda text: bool(_octets(text))
)
