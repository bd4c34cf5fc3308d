"""Formats that only ``flufl.bounce`` recognises: its detectors find addresses, without codes or reasons."""

from __future__ import annotations

import logging
from email import message_from_bytes

from flufl.bounce import all_failures

from .model import MAX_FINDINGS, BounceCause, BounceClass, RecipientReport

_MAX_BYTES = 64 * 1024  # its patterns and the email package take more than linear time for hostile mails
_MAX_PARTS = 30


def other_recipients(raw: bytes) -> list[RecipientReport]:
    """Return the recipients that flufl.bounce finds. Its permanent failures have no stated reason, so none is called hard."""
    head = raw[:_MAX_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if head.lower().count(b"boundary") > _MAX_PARTS:
        return []
    # A detector that fails for a malformed mail is logged as an error with a traceback, and the next one is tried.
    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    try:
        temporary, permanent = all_failures(message_from_bytes(head))
    except Exception:  # its detectors raise various errors for malformed mails
        return []
    found = [
        *((one, BounceClass.SOFT) for one in sorted(permanent)),
        *((one, BounceClass.DELAYED) for one in sorted(temporary)),
    ]
    return [
        RecipientReport(outcome, BounceCause.OTHER, address.decode("ascii", "replace"))
        for address, outcome in found[:MAX_FINDINGS]
        if b"@" in address
    ]
