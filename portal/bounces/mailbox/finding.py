"""What a fetched mail holds: reports about messages, also forwarded by an owner, and the headers of a test email."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from ...accounts.models import Owner
from ...accounts.team.contact import member_ids
from ...arrival import headers as arrival_headers
from ...arrival import proofs
from ...db import db
from ...outbox.reference import HEADER, read_reference
from ..meaning import Meaning, Report
from ..parsing.mime import read_headers, read_mail
from ..parsing.model import BounceClass
from ..parsing.read import read_report
from .candidates import REFERENCE, Expected, MailKind

if TYPE_CHECKING:
    from ..parsing.model import MailReport, RecipientReport

_MAX_PLACE_CHARS = 320  # of an address or an ENVID
_MAX_FORWARDED = 20  # attachments of one mail
_RAW_CHARS = 4000  # of the report's own words; the message that it returns is not kept
_FORWARDED_TYPES = frozenset({"message/rfc822", "message/global"})


@dataclass
class MailContent:
    """Reports, and the headers of test emails that arrived."""

    reports: list[Report] = field(default_factory=list)
    test_emails: list[str] = field(default_factory=list)


def expected_by(account_id: int, username: str, *, now: datetime) -> Expected:
    """Return what to look for in the mailbox of an account. Owners forward from their own mailboxes and from this one."""
    mailboxes = db.session.scalars(select(Owner.mailbox).where(Owner.id.in_(member_ids(account_id))))
    forwarders = frozenset(one.casefold() for one in (*mailboxes, username))
    return Expected(forwarders, proofs.awaits_headers(account_id, now=now))


def read(raw: bytes, kind: MailKind) -> MailContent:
    """Return what a mail holds. Never raises for any bytes."""
    if kind is MailKind.REPORT:
        reports = reports_of(raw)
        # The beginning of long headers may show no sender, as those of a report do.
        return MailContent(reports, [] if reports else _test_emails(raw))
    if kind is MailKind.TEST_EMAIL:
        return MailContent(test_emails=_test_emails(raw))
    found = MailContent()
    parts = [part for part in read_mail(raw).parts if part.type in _FORWARDED_TYPES]
    for part in parts[:_MAX_FORWARDED]:
        inner = part.content()
        reports = reports_of(inner)
        found.reports += reports
        found.test_emails += [] if reports else _test_emails(inner)
    return found


def reports_of(raw: bytes) -> list[Report]:
    """Return what a mail reports about messages of ours: nothing, if it names no message."""
    read_ = read_report(raw)
    reference = _reference_of(read_)
    if not (read_.message_id or reference):
        return []
    at = _date_of(raw)
    digest = hashlib.sha256(raw).hexdigest()
    return [
        Report(
            Meaning(finding.outcome.value),
            f"{digest}:{number}",
            kind=finding.cause.value,
            recipient=finding.original_recipient or finding.recipient,
            occurred_at=at,
            status=finding.status,
            reply_code=int(finding.reply_code) if finding.reply_code else None,
            reason=finding.reason,
            reference=reference,
            header_id=read_.message_id,
            raw=_own_words(read_),
        )
        for number, finding in enumerate(read_.findings)
        if finding.outcome not in {BounceClass.NONE, BounceClass.AUTO_REPLY}
    ]


def _test_emails(raw: bytes) -> list[str]:
    """Return the headers of a message of ours that a server has received; nothing for another one, or a copy of a sent one."""
    head = raw.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")[0]
    fields = read_headers(head)
    is_ours = read_reference(fields.get(HEADER.lower())) is not None
    if not is_ours or not fields.get("received"):
        return []
    return [head.decode("utf-8", "replace")[: arrival_headers.MAX_CHARS]]


def _reference_of(report: MailReport) -> str:
    """Return the reference that a report names: in the message that it returns, as ENVID, or in its own address (VERP).

    Relays add to that address (BATV, SRS), and some change its case.
    """
    places = (report.reference, report.envelope_id, *report.delivered_to)
    found = [one for place in places for one in REFERENCE.findall(place[:_MAX_PLACE_CHARS])]
    return next((one for one in found if read_reference(one) is not None), report.reference)


def _own_words(report: MailReport) -> str:
    """Return what the event page shows as the raw text: the findings, not the message that was returned."""
    return "\n".join(map(_words_of, report.findings))[:_RAW_CHARS]


def _words_of(finding: RecipientReport) -> str:
    codes = [one for one in (finding.reply_code, finding.status) if one and one not in finding.reason]
    return f"{finding.recipient}: {' '.join((*codes, finding.reason))}"


def _date_of(raw: bytes) -> datetime | None:
    try:
        at = parsedate_to_datetime(read_mail(raw).headers.get("date"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
