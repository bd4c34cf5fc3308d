"""SparkPost's webhooks: batches of events; the secret in the address is the proof.

Source: developers.sparkpost.com, Events and Bounce classification codes. A batch with an empty event is a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Item, decode_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .adapter import Call

_MEANINGS = {
    "delivery": Meaning.DELIVERED,
    "delay": Meaning.DELAYED,
    "spam_complaint": Meaning.COMPLAINT,
    "list_unsubscribe": Meaning.UNSUBSCRIBED,
    "link_unsubscribe": Meaning.UNSUBSCRIBED,
    "policy_rejection": Meaning.BLOCKED,
    "generation_rejection": Meaning.BLOCKED,
    "generation_failure": Meaning.BLOCKED,
}
_BOUNCES = frozenset({"bounce", "out_of_band"})
_IGNORED = frozenset(
    {
        "injection",
        "open",
        "initial_open",
        "click",
        "amp_open",
        "amp_initial_open",
        "amp_click",
        "sms_status",
        "ab_test_completed",
        "ab_test_cancelled",
        "ingest_success",
    }
)
_BY_CLASS = {
    "10": Meaning.HARD,  # invalid recipient
    "30": Meaning.HARD,  # no recipient
    "90": Meaning.UNSUBSCRIBED,
    "20": Meaning.SOFT,
    "21": Meaning.SOFT,
    "22": Meaning.SOFT,
    "23": Meaning.SOFT,  # too large
    "24": Meaning.SOFT,
    "40": Meaning.SOFT,
    "70": Meaning.SOFT,
    "25": Meaning.BLOCKED,
    "50": Meaning.BLOCKED,
    "51": Meaning.BLOCKED,
    "52": Meaning.BLOCKED,
    "53": Meaning.BLOCKED,
    "54": Meaning.BLOCKED,
    "60": Meaning.AUTO_REPLY,
    "80": Meaning.AUTO_REPLY,
    "100": Meaning.AUTO_REPLY,
}


def _read(call: Call) -> Iterator[Report]:
    for wrapped in decode_items(call.body):
        outer = wrapped.item("msys")
        for name in list(outer.data)[:1]:  # message_event, unsubscribe_event ...; none in a test
            event = outer.item(name)
            if event.text("type") not in _IGNORED:
                yield _report(event)
        if not isinstance(wrapped.data.get("msys"), dict):
            yield Report(Meaning.UNKNOWN, wrapped.digest, raw=wrapped.raw)


def _report(event: Item) -> Report:
    reason = event.text("raw_reason") or event.text("reason")
    kind, bounce_class = event.text("type"), event.text("bounce_class")
    return Report(
        meaning=_meaning(kind, bounce_class, reason),
        key=event.text("event_id") or event.digest,
        kind=f"{kind}, class {bounce_class}" if bounce_class else kind,
        recipient=event.text("raw_rcpt_to") or event.text("rcpt_to"),
        occurred_at=event.seconds("timestamp"),
        status=enhanced_code(reason),
        reply_code=event.code("error_code") or reply_code(reason),
        reason=reason,
        reference=event.text("rcpt_meta", "signet"),
        queue_id=event.text("message_id"),
        is_listed=_MEANINGS.get(kind) is Meaning.BLOCKED and "suppress" in reason.lower(),
        raw=event.raw,
    )


def _meaning(kind: str, bounce_class: str, reason: str) -> Meaning:
    if kind not in _BOUNCES:
        return _MEANINGS.get(kind, Meaning.UNKNOWN)
    if bounce_class in _BY_CLASS:
        return _BY_CLASS[bounce_class]
    return classify("", reason, default=Meaning.SOFT)


SPARKPOST = Adapter("sparkpost", "SparkPost", _read)
