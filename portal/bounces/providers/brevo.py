"""Brevo's transactional webhooks: one event in each call, or a batch; the secret in the address is the proof.

Source: developers.brevo.com, Transactional webhooks. An event has no id, so its values identify it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..meaning import Meaning, Report, classify, enhanced_code, reply_code
from .adapter import Adapter, Item, decode_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .adapter import Call

_MEANINGS = {
    "delivered": Meaning.DELIVERED,
    "deferred": Meaning.DELAYED,
    "hard_bounce": Meaning.HARD,
    "invalid_email": Meaning.HARD,
    "soft_bounce": Meaning.SOFT,
    "spam": Meaning.COMPLAINT,
    "complaint": Meaning.COMPLAINT,
    "blocked": Meaning.BLOCKED,
    "error": Meaning.BLOCKED,
    "unsubscribe": Meaning.UNSUBSCRIBED,
    "unsubscribed": Meaning.UNSUBSCRIBED,
}
_IGNORED = frozenset(
    {
        "request",
        "click",
        "opened",
        "unique_opened",
        "proxy_open",
        "unique_proxy_open",
        "list_addition",
        "contact_updated",
        "contact_deleted",
    }
)
_FINAL = (Meaning.HARD, Meaning.SOFT)
_PREFIX = "signet:"  # in our header


def _read(call: Call) -> Iterator[Report]:
    for event in decode_items(call.body):
        if event.text("event") not in _IGNORED:
            yield _report(event)


def _report(event: Item) -> Report:
    kind, reason = event.text("event"), event.text("reason")
    custom, header_id = event.text("X-Mailin-custom"), event.text("message-id")
    meaning = _MEANINGS.get(kind, Meaning.UNKNOWN)
    # "date" and "ts" are in the time zone of the account.
    at = event.text("ts_epoch")
    return Report(
        meaning=classify("", reason, default=meaning) if meaning in _FINAL and reason else meaning,
        key=" ".join((kind, header_id, event.text("email"), at)) if at else event.digest,
        kind=kind,
        recipient=event.text("email"),
        occurred_at=event.seconds("ts_epoch", per_second=1000),
        status=enhanced_code(reason),
        reply_code=reply_code(reason),
        reason=reason,
        reference=custom.removeprefix(_PREFIX) if custom.startswith(_PREFIX) else "",
        header_id=header_id,
        is_listed=meaning is Meaning.BLOCKED and kind == "blocked",
        raw=event.raw,
    )


BREVO = Adapter("brevo", "Brevo", _read)
