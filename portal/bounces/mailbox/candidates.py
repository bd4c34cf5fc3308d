"""Which mails of a mailbox are fetched: those whose headers are those of a report."""

from __future__ import annotations

import re

from ...outbox.reference import REFERENCE_CHARS
from ..parsing.auto_replies import has_failure_subject, has_null_sender, is_from_system
from ..parsing.mime import split_head

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


def may_be_report(raw_headers: bytes) -> bool:
    """Return whether a mail may be a bounce or a complaint. Letters of people are left unread in the mailbox."""
    headers, _body = split_head(raw_headers.replace(b"\r\n", b"\n"))
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
