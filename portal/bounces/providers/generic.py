"""The form for every other sender of events, described in docs/bounces.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import lazy_gettext

from ..meaning import Meaning, Report
from .adapter import Adapter, Item, decode_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .adapter import Call

_MEANINGS = frozenset(Meaning) - {Meaning.UNKNOWN}


def _read(call: Call) -> Iterator[Report]:
    for item in decode_items(call.body):
        for one in item.items("events") or [item]:
            yield _report(one)


def _report(item: Item) -> Report:
    kind = item.text("type")
    return Report(
        meaning=Meaning(kind) if kind in _MEANINGS else Meaning.UNKNOWN,
        key=item.text("id") or item.digest,
        kind=kind,
        recipient=item.text("recipient"),
        occurred_at=item.moment("at"),
        status=item.text("status"),
        reply_code=item.code("reply_code"),
        reason=item.text("reason"),
        reference=item.text("reference"),
        queue_id=item.text("queue_id"),
        header_id=item.text("message_id"),
        is_listed=item.flag("listed"),
        raw=item.raw,
    )


GENERIC = Adapter("generic", lazy_gettext("Other"), _read)
