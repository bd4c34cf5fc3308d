"""Which mails of a mailbox are fetched: those whose headers are those of a report, of a forward, or of a test email."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from ...outbox.reference import HEADER, REFERENCE_CHARS
from ..parsing.addresses import addresses_in
from ..parsing.auto_replies import has_failure_subject, has_null_sender, is_from_system
from ..parsing.mime import split_head

if TYPE_CHECKING:
    from ..parsing.mime import Headers

_REPORT_TYPES = frozenset({"delivery-status", "feedback-report", "global-delivery-status"})
_FEEDBACK_SUBJECTS = (
    "complaint",
    "abuse report",
    "spam report",
    "feedback report",
    "aws notification message",
)
# Of a message, in an address to which its bounces go. Other letters and digits beside it make it another text.
REFERENCE = re.compile(rf"(?<![0-9A-Za-z])[0-9A-Fa-f]{{{REFERENCE_CHARS}}}(?![0-9A-Za-z])")
_ADDRESSED = ("to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to")


@dataclass(frozen=True)
class Expected:
    """What is looked for besides reports: forwards from these mailboxes, and test emails if one may still arrive."""

    forwarders: frozenset[str] = frozenset()  # in lower case
    test_email: bool = False


class MailKind(Enum):
    """What a mail may be, by its headers. Letters of people are left unread in the mailbox."""

    LETTER = auto()
    REPORT = auto()
    FORWARD = auto()  # of an owner, with attachments
    TEST_EMAIL = auto()


def kind_of(raw_headers: bytes, expected: Expected) -> MailKind:
    """Return what a mail may be. ``raw_headers`` are its headers, or the beginning of long ones."""
    raw = raw_headers.replace(b"\r\n", b"\n")
    headers, _body = split_head(raw)
    if _may_be_report(headers):
        return MailKind.REPORT
    if headers.content_type.startswith("multipart/") and _is_from(headers, expected.forwarders):
        return MailKind.FORWARD
    # A message has its own header below those that servers added, and so perhaps beyond the beginning.
    if expected.test_email and (headers.get(HEADER.lower()) or b"\n\n" not in raw):
        return MailKind.TEST_EMAIL
    return MailKind.LETTER


def _is_from(headers: Headers, mailboxes: frozenset[str]) -> bool:
    return any(one.casefold() in mailboxes for one in addresses_in(headers.get("from")))


def _may_be_report(headers: Headers) -> bool:
    if headers.report_type in _REPORT_TYPES or headers.content_type == "multipart/report":
        return headers.report_type != "disposition-notification"
    subject = headers.get("subject").casefold()
    return (
        any(REFERENCE.search(value) for name in _ADDRESSED for value in headers.all(name))
        or is_from_system(headers)
        or has_failure_subject(headers)
        or any(one in subject for one in _FEEDBACK_SUBJECTS)
        or (has_null_sender(headers) and "auto-replied" not in headers.get("auto-submitted").lower())
    )
