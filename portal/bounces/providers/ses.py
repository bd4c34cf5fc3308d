"""Amazon SES, by way of Amazon SNS: feedback notifications and published events, several recipients in each.

Source: docs.aws.amazon.com/ses, Notification contents and Event data; docs.aws.amazon.com/sns, Verifying signatures.
The signature needs a certificate that is fetched, so a call is stored first and verified by a worker (``sns.py``).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Item, Unreadable, decode_item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .adapter import Call

_IGNORED = frozenset({"Send", "Open", "Click", "AmazonSnsSubscriptionSucceeded", "Rendering Failure"})
_BY_SUBTYPE = {
    "NoEmail": Meaning.HARD,
    "Suppressed": Meaning.HARD,
    "OnAccountSuppressionList": Meaning.HARD,
    "UnsubscribedRecipient": Meaning.UNSUBSCRIBED,
    "MailboxFull": Meaning.SOFT,
    "MessageTooLarge": Meaning.SOFT,
    "ContentRejected": Meaning.BLOCKED,
    "AttachmentRejected": Meaning.BLOCKED,
}
_ITS_LISTS = frozenset({"Suppressed", "OnAccountSuppressionList", "UnsubscribedRecipient"})
_MAX_RECIPIENTS = 50  # of one message; docs.aws.amazon.com/ses, Service quotas
_HOST_NOT_FOUND = "5.4.4"
_REFERENCE = "x-signet-ref"


def _read(call: Call) -> Iterator[Report]:
    outer = decode_item(call.body)
    if outer.text("Type") != "Notification":
        return
    try:
        event = decode_item(outer.text("Message").encode("utf-8", "replace"))
    except Unreadable:
        return  # a sentence that SNS sends when a topic is connected
    kind = event.text("eventType") or event.text("notificationType")
    if kind in _IGNORED:
        return
    details, raw = _details(event, kind), event.raw  # one text for all of its recipients
    for number, (recipient, meaning, words) in enumerate(islice(_recipients(event, kind), _MAX_RECIPIENTS)):
        yield Report(
            meaning=meaning,
            key=f"{outer.text('MessageId')} {number}",
            kind=", ".join(part for part in (kind, *details) if part),
            recipient=recipient.text("emailAddress"),
            occurred_at=_time(event, kind) or outer.moment("Timestamp"),
            status=recipient.text("status") or enhanced_code(words),
            reply_code=reply_code(words),
            reason=words,
            reference=_reference_in(event.item("mail")),
            queue_id=event.text("mail", "messageId"),
            header_id=_header_id(event.item("mail")),
            is_listed=bool(_ITS_LISTS.intersection(details)),
            raw=raw,
        )


_Told = tuple[Item, Meaning, str]  # recipient, meaning, the receiver's words


def _recipients(event: Item, kind: str) -> Iterator[_Told]:
    """Yield each recipient of an event with its meaning and the receiver's words."""
    if kind == "Bounce":
        bounce = event.item("bounce")
        for one in bounce.items("bouncedRecipients"):
            words = one.text("diagnosticCode")
            yield one, _bounce(bounce, one.text("status"), words), words
    elif kind == "Delivery":
        delivery = event.item("delivery")
        for address in delivery.texts("recipients"):
            yield Item({"emailAddress": address}), Meaning.DELIVERED, delivery.text("smtpResponse")
    elif kind == "DeliveryDelay":
        delay = event.item("deliveryDelay")
        for one in delay.items("delayedRecipients"):
            yield one, Meaning.DELAYED, one.text("diagnosticCode") or delay.text("delayType")
    else:
        yield from _others(event, kind)


def _others(event: Item, kind: str) -> Iterator[_Told]:
    first = Item({"emailAddress": next(iter(event.item("mail").texts("destination")), "")})
    if kind == "Complaint":
        complaint = event.item("complaint")
        for one in complaint.items("complainedRecipients"):
            yield one, _complaint(complaint), complaint.text("complaintFeedbackType")
    elif kind == "Reject":
        yield first, Meaning.BLOCKED, event.text("reject", "reason")
    elif kind == "Subscription":
        if event.flag("subscription", "newTopicPreferences", "unsubscribeAll"):
            yield first, Meaning.UNSUBSCRIBED, ""
    else:
        yield Item({}), Meaning.UNKNOWN, ""


def _bounce(bounce: Item, status: str, words: str) -> Meaning:
    kind, subtype = bounce.text("bounceType"), bounce.text("bounceSubType")
    if subtype in _BY_SUBTYPE:
        return _BY_SUBTYPE[subtype]
    if status == _HOST_NOT_FOUND:
        return Meaning.HARD
    if kind == "Permanent":
        return classify(status, words, default=Meaning.HARD)
    if kind == "Transient" and not (status or words):
        return Meaning.AUTO_REPLY  # such as an absence note: no server has refused anything
    return classify(status, words, default=Meaning.SOFT) if kind == "Transient" else Meaning.SOFT


def _complaint(complaint: Item) -> Meaning:
    # The recipient took it out of the spam folder again.
    is_reverse = complaint.text("complaintFeedbackType") == "not-spam"
    return Meaning.AUTO_REPLY if is_reverse else Meaning.COMPLAINT


def _details(event: Item, kind: str) -> tuple[str, ...]:
    names = {"Bounce": ("bounceType", "bounceSubType"), "Complaint": ("complaintSubType",)}
    return tuple(event.text(kind.lower(), name) for name in names.get(kind, ()))


def _time(event: Item, kind: str) -> datetime | None:
    return event.moment(kind[:1].lower() + kind[1:], "timestamp")


def _reference_in(mail: Item) -> str:
    """Return our reference: from the tags of published events, or from the headers where the owner includes them."""
    tags = mail.item("tags").texts("signet")
    return tags[0] if tags else _header(mail, _REFERENCE)


def _header_id(mail: Item) -> str:
    """Return our Message-ID: SES replaces it, but the headers are those that it was given."""
    return _header(mail, "message-id") or mail.text("commonHeaders", "messageId")


def _header(mail: Item, name: str) -> str:
    return next((one.text("value") for one in mail.items("headers") if one.text("name").lower() == name), "")


SES = Adapter("ses", "Amazon SES", _read, is_verified_later=True)
