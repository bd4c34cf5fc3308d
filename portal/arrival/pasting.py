"""Pasted headers, and those of a test email that the mailbox reader found: stores how its From address arrived."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ..db import db
from ..outbox.reference import HEADER
from . import comparison, headers, proofs
from .models import FromOutcome

if TYPE_CHECKING:
    from datetime import datetime

    from .models import TestEmail


class HeadersRefused(Exception):
    """The text holds no headers of a test email. The message is a sentence for the owner."""


def store(account_id: int, text: str, *, now: datetime, is_found: bool = False) -> TestEmail:
    """Compare headers with the test email that they belong to. Commits. Raises HeadersRefused.

    The headers themselves are not stored, only addresses and results. ``is_found``: the email was in the mailbox that is
    read for bounces, so it was received, too. Such headers do not replace others that have the receiver's results.
    """
    pasted = headers.parse(text)
    if not pasted.message_ids or not pasted.first("from"):
        raise HeadersRefused(
            _(
                "These headers are incomplete: the Message-ID or the From line is missing. Copy the "
                "source of the email from its first line."
            )
        )
    row = proofs.find_by_headers(account_id, pasted.message_ids, pasted.first(HEADER.lower()))
    if row is None:
        raise HeadersRefused(
            _(
                "These headers do not belong to a test email of this account. Send a test email and paste its headers."
            )
        )
    author = headers.mailbox(row.sender)
    seen = replace(comparison.observe(pasted, author.rpartition("@")[2]), is_found=is_found)
    if is_found and row.received_at is None:
        row.received_at = now
    if is_found and row.outcome not in ("", FromOutcome.NO_RESULTS):
        db.session.commit()
        return row
    row.outcome, row.observed, row.pasted_at = comparison.outcome_of(row, seen), seen.as_dict(), now
    db.session.commit()
    return row
