"""Mailjet's Event API: one event in each call, or a group; the secret in the address is the proof.

Source: dev.mailjet.com, Webhooks and its table of errors. An event has no id, so its values identify it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Item, decode_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .adapter import Call

_IGNORED = frozenset({"open", "click"})
_MEANINGS = {
    "sent": Meaning.DELIVERED,  # the receiver's server accepted it
    "spam": Meaning.COMPLAINT,
    "unsub": Meaning.UNSUBSCRIBED,
}
_BY_ERROR = {
    "user unknown": Meaning.HARD,
    "invalid domain": Meaning.HARD,
    "no mail host": Meaning.HARD,
    "typofix": Meaning.HARD,
    "mailbox inactive": Meaning.SOFT,
    "quota exceeded": Meaning.SOFT,
    "connection issue": Meaning.SOFT,
    "protocol error": Meaning.SOFT,
    "system issue": Meaning.SOFT,
    "greylisted": Meaning.SOFT,
    "relay/access denied": Meaning.BLOCKED,
    "blacklisted": Meaning.BLOCKED,
    "sender blocked": Meaning.BLOCKED,
    "content blocked": Meaning.BLOCKED,
    "policy issue": Meaning.BLOCKED,
    "spam reporter": Meaning.COMPLAINT,
}
_ITS_LIST = ("preblocked", "spam reporter")


def _read(call: Call) -> Iterator[Report]:
    for event in decode_items(call.body):
        if event.text("event") not in _IGNORED and event.data:
            yield _report(event)


def _report(event: Item) -> Report:
    kind, error = event.text("event"), event.text("error").lower()
    words = event.text("smtp_reply") or event.text("comment")
    at, message = event.text("time"), event.text("MessageID")
    return Report(
        meaning=_meaning(event, error, words),
        key=" ".join((kind, error, message, event.text("email"), at)) if message and at else event.digest,
        kind=", ".join(part for part in (kind, event.text("error_related_to"), error) if part),
        recipient=event.text("email"),
        occurred_at=event.seconds("time"),
        status=enhanced_code(words),
        reply_code=reply_code(words),
        reason=words or error,
        reference=event.text("CustomID"),
        queue_id=event.text("Message_GUID") or message,
        is_listed=kind == "blocked" and error in _ITS_LIST,
        raw=event.raw,
    )


def _meaning(event: Item, error: str, words: str) -> Meaning:
    kind = event.text("event")
    if kind == "blocked":  # Mailjet did not send it
        return Meaning.COMPLAINT if error == "spam reporter" else Meaning.BLOCKED
    if kind != "bounce":
        return _MEANINGS.get(kind, Meaning.UNKNOWN)
    is_hard = event.flag("hard_bounce")
    if error == "greylisted" and not is_hard:
        return Meaning.DELAYED  # it is tried again
    if error in _BY_ERROR:
        return _BY_ERROR[error]
    return classify("", words, default=Meaning.HARD if is_hard else Meaning.SOFT)


MAILJET = Adapter("mailjet", "Mailjet", _read)
