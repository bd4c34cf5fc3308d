"""Reads calls, and records their reports as events, each once; a worker then matches them with messages (``processing.py``)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..db import db, insert
from ..jobs import notify
from ..smtp.protocol.reply import plain_text
from . import erased_persons
from .meaning import REASON_CHARS, Meaning, Report, enhanced_code, plausible_time
from .models import BounceEvent, EventState
from .providers.adapter import Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .providers.adapter import Adapter, Call

_log = logging.getLogger(__name__)
JOB = "bounces"
RAW_CHARS = 16_000  # kept of what came
MAX_REPORTS = 2_000  # in one call
_BATCH = 200  # rows of one statement
_KIND_CHARS, _PROOF_CHARS = 80, 80
_ENHANCED_CHARS, _REFERENCE_CHARS, _QUEUE_ID_CHARS, _HEADER_ID_CHARS, _MAILBOX_CHARS = 12, 64, 120, 300, 254


def read_call(adapter: Adapter, call: Call) -> list[Report]:
    """Return the reports of a call, at most ``MAX_REPORTS``; one of unknown meaning, if it cannot be read."""
    try:
        return list(islice(adapter.read(call), MAX_REPORTS))
    except Unreadable:
        pass
    except Exception:  # an event of a form that no adapter expects must not make the provider stop calling
        _log.exception("an event of %s could not be read", adapter.id)
    raw = call.body[: 4 * RAW_CHARS].decode("utf-8", "replace")
    return [Report(Meaning.UNKNOWN, event_key(raw, len(call.body)), raw=raw)]


def record_event(account_id: int, source: str, report: Report, *, now: datetime) -> bool:
    """Record one report of an account; return whether it is new. The caller commits.

    ``source`` is the provider's id, or how the report came. ``key`` identifies a report among others of its source.
    """
    return bool(record_events(account_id, source, [report], now=now))


def record_events(account_id: int, source: str, reports: Sequence[Report], *, now: datetime) -> int:
    """Record several reports; return how many are new. Pushes the job that matches them. The caller commits."""
    rows = [_row(account_id, source, report, now) for report in reports[:MAX_REPORTS]]
    _blank_erased(account_id, rows)
    rows.sort(
        key=lambda row: str(row["key"])
    )  # two calls with the same events then wait for each other in one order
    new = 0
    for start in range(0, len(rows), _BATCH):
        statement = insert(BounceEvent).values(rows[start : start + _BATCH]).on_conflict_do_nothing()
        new += len(db.session.scalars(statement.returning(BounceEvent.id)).all())
    if new:
        notify.push_after_commit(JOB, account_id)
    return new


def _blank_erased(account_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Blank what was not understood and names an erased person; the others are looked at once they find no message."""
    unmatched = [row for row in rows if row["state"] is EventState.UNMATCHED]
    reports = [(row["recipient"], row["reason"], row["raw"]) for row in unmatched]
    for row, is_named in zip(unmatched, erased_persons.named_in(account_id, reports), strict=True):
        if is_named:
            row.update(erased_persons.blanked())


def event_key(*parts: object) -> str:
    """Return the key of an event that is identified by several values; the order counts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()


def _row(account_id: int, source: str, report: Report, now: datetime) -> dict[str, Any]:
    understood = report.meaning is not Meaning.UNKNOWN
    report = _cleaned(report)
    return {
        "account_id": account_id,
        "source": source,
        "key": event_key(report.key),
        "proof": report.proof,
        # What was not understood is shown to the owner at once; no message is looked for.
        "state": EventState.WAITING if understood else EventState.UNMATCHED,
        "meaning": report.meaning,
        "kind": report.kind,
        "recipient": report.recipient,
        "occurred_at": plausible_time(report.occurred_at, now=now),
        "status": report.status,
        "reply_code": report.reply_code,
        "reason": report.reason,
        "reference": report.reference,
        "queue_id": report.queue_id,
        "header_id": report.header_id,
        "is_listed": report.is_listed,
        "raw": report.raw,
        "message_id": None,
        "received_at": now,
        "next_at": now if understood else None,
        "tries": 0,
    }


def _cleaned(report: Report) -> Report:
    """Cut every text to its column, and drop characters that the database or a page cannot hold."""
    code = report.reply_code
    return replace(
        report,
        kind=plain_text(report.kind, _KIND_CHARS),
        proof=plain_text(report.proof, _PROOF_CHARS),
        recipient=plain_text(report.recipient, _MAILBOX_CHARS),
        status=plain_text(enhanced_code(report.status), _ENHANCED_CHARS),  # some add words to it
        reply_code=code if code is not None and 100 <= code <= 999 else None,
        reason=plain_text(report.reason, REASON_CHARS),
        reference=plain_text(report.reference, _REFERENCE_CHARS),
        queue_id=plain_text(report.queue_id, _QUEUE_ID_CHARS),
        header_id=plain_text(report.header_id, _HEADER_ID_CHARS),
        raw=_storable(report.raw[:RAW_CHARS]),
    )


def _storable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL refuses, and without unpaired surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
