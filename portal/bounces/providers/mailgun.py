"""Mailgun's webhooks: one event in each call, proved by an HMAC over a timestamp and a token.

The HMAC does not cover the event, so a token counts for one event only: ``Report.proof``.
Source: documentation.mailgun.com, user manual, Webhooks and Tracking Failures.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code
from .adapter import Adapter, Call, Forged, Item, Unreadable, decode_item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_OLDEST = timedelta(hours=9)  # failed calls are repeated for eight
_CLOCK_SKEW = timedelta(minutes=15)
_MEANINGS = {
    "delivered": Meaning.DELIVERED,
    "complained": Meaning.COMPLAINT,
    "unsubscribed": Meaning.UNSUBSCRIBED,
    "rejected": Meaning.BLOCKED,  # by Mailgun: a virus
}
_IGNORED = frozenset({"accepted", "opened", "clicked", "stored", "list_member_uploaded"})
_ON_ITS_LISTS = {
    "suppress-bounce": Meaning.HARD,
    "suppress-complaint": Meaning.COMPLAINT,
    "suppress-unsubscribe": Meaning.UNSUBSCRIBED,
}


def _verify(call: Call) -> None:
    try:
        signature = decode_item(call.body).item("signature")
    except Unreadable:
        raise Forged from None
    timestamp, token = signature.text("timestamp"), signature.text("token")
    signed = f"{timestamp}{token}".encode("utf-8", "replace")
    expected = hmac.new(call.key.encode(), signed, hashlib.sha256).hexdigest()
    # An event of a subaccount also has the signature of the account above it, whose key the owner may have entered.
    given = [signature.text(name).encode("utf-8", "replace") for name in ("signature", "parent-signature")]
    at = signature.seconds("timestamp")
    if not (call.key and token and any(hmac.compare_digest(expected.encode(), one) for one in given)):
        raise Forged
    # Digits only: 1700000000 and e0... would sign the same text as 1700000000e0 and ..., which is another token.
    if at is None or not (timestamp.isascii() and timestamp.isdigit() and _is_recent(at, call.now)):
        raise Forged


def _is_recent(at: datetime, now: datetime) -> bool:
    return now - _OLDEST <= at <= now + _CLOCK_SKEW


def _read(call: Call) -> Iterator[Report]:
    body = decode_item(call.body)
    event = body.item("event-data")
    kind = event.text("event")
    if kind in _IGNORED:
        return
    status = event.item("delivery-status")
    words = status.text("message") or status.text("description")
    reason = event.text("reason")
    yield Report(
        meaning=_meaning(event, words),
        # An id is unique within a day only.
        key=f"{event.text('id')} {event.text('timestamp')}" if event.text("id") else event.digest,
        kind=", ".join(part for part in (kind, event.text("severity"), reason) if part),
        recipient=event.text("recipient"),
        occurred_at=event.seconds("timestamp"),
        status=status.text("enhanced-code") or enhanced_code(words),
        reply_code=status.code("code"),
        reason=words or event.text("reject", "reason"),
        reference=event.text("user-variables", "signet"),
        header_id=event.text("message", "headers", "message-id"),
        proof=body.text("signature", "token"),
        is_listed=reason in _ON_ITS_LISTS,
        raw=event.raw,
    )


def _meaning(event: Item, words: str) -> Meaning:
    kind = event.text("event")
    if kind != "failed":
        return _MEANINGS.get(kind, Meaning.UNKNOWN)
    if event.text("severity") == "temporary":
        return Meaning.DELAYED
    if event.text("reason") in _ON_ITS_LISTS:
        return _ON_ITS_LISTS[event.text("reason")]
    status = event.item("delivery-status")
    text = f"{status.text('code')} {words}".strip()
    return classify(status.text("enhanced-code"), text, default=Meaning.SOFT)


MAILGUN = Adapter("mailgun", "Mailgun", _read, _verify, "HTTP webhook signing key")
