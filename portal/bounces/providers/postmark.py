"""Postmark's webhooks: one event in each call; the secret in the address is the proof.

Source: postmarkapp.com/developer, Webhooks (Bounce, Delivery, Spam complaint, Subscription change) and Bounce types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Item, decode_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .adapter import Call

_BY_TYPE = {
    "HardBounce": Meaning.HARD,
    "BadEmailAddress": Meaning.HARD,
    "ManuallyDeactivated": Meaning.BLOCKED,
    "Transient": Meaning.DELAYED,
    "SoftBounce": Meaning.SOFT,
    "DnsError": Meaning.SOFT,
    "Undeliverable": Meaning.SOFT,
    "SpamComplaint": Meaning.COMPLAINT,
    "Unsubscribe": Meaning.UNSUBSCRIBED,
    "SpamNotification": Meaning.BLOCKED,
    "VirusNotification": Meaning.BLOCKED,
    "Blocked": Meaning.BLOCKED,
    "DMARCPolicy": Meaning.BLOCKED,
    "SMTPApiError": Meaning.BLOCKED,
    "AutoResponder": Meaning.AUTO_REPLY,
    "AddressChange": Meaning.AUTO_REPLY,
    "ChallengeVerification": Meaning.AUTO_REPLY,
    "OpenRelayTest": Meaning.AUTO_REPLY,
}
_BY_LIST = {
    "HardBounce": Meaning.HARD,
    "SpamComplaint": Meaning.COMPLAINT,
    "ManualSuppression": Meaning.UNSUBSCRIBED,
}
_IGNORED = frozenset({"Open", "Click"})
_TIMES = ("BouncedAt", "DeliveredAt", "ChangedAt")


def _read(call: Call) -> Iterator[Report]:
    event = decode_item(call.body)
    record = event.text("RecordType")
    is_resumed = record == "SubscriptionChange" and not event.flag("SuppressSending")
    if record in _IGNORED or is_resumed:
        return
    details = event.text("Details") or event.text("Description")
    time = next((name for name in _TIMES if event.text(name)), "")
    message = event.text("MessageID")
    yield Report(
        meaning=_meaning(event, details),
        key=f"{record} {event.text('ID') or message} {event.text(time)}" if message else event.digest,
        kind=", ".join(part for part in (record, event.text("Type")) if part),
        recipient=event.text("Email") or event.text("Recipient"),
        occurred_at=event.moment(time),
        status=enhanced_code(details),
        reply_code=reply_code(details),
        reason=details,
        reference=event.text("Metadata", "signet"),
        queue_id=message,
        is_listed=event.flag("Inactive") or record == "SubscriptionChange",
        raw=event.raw,
    )


def _meaning(event: Item, details: str) -> Meaning:
    match event.text("RecordType"):
        case "Delivery":
            return Meaning.DELIVERED
        case "SpamComplaint":
            return Meaning.COMPLAINT
        case "SubscriptionChange":
            return _BY_LIST.get(event.text("SuppressionReason"), Meaning.UNKNOWN)
        case "Bounce":
            kind = event.text("Type")
            found = _BY_TYPE.get(kind, Meaning.UNKNOWN)
            return classify("", details, default=found) if found is Meaning.HARD and details else found
    return Meaning.UNKNOWN


POSTMARK = Adapter("postmark", "Postmark", _read)
