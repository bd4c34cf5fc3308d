"""Complaints: the Abuse Reporting Format (RFC 5965), and reports of the same meaning without its parts."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from .addresses import addresses_in, typed_address
from .mime import Headers, read_headers
from .model import MAX_FINDINGS, BounceCause, BounceClass, RecipientReport
from .returned import Returned, returned_of, returned_part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .mime import Mail

FEEDBACK_TYPE = "message/feedback-report"
_TYPES: Mapping[str, tuple[BounceClass, BounceCause]] = MappingProxyType({
    "abuse": (BounceClass.COMPLAINT, BounceCause.ABUSE),
    "complaint": (BounceClass.COMPLAINT, BounceCause.ABUSE),
    "spam": (BounceClass.COMPLAINT, BounceCause.ABUSE),
    "miscategorized": (BounceClass.COMPLAINT, BounceCause.ABUSE),
    "fraud": (BounceClass.COMPLAINT, BounceCause.FRAUD),
    "virus": (BounceClass.COMPLAINT, BounceCause.VIRUS),
    "other": (BounceClass.COMPLAINT, BounceCause.OTHER),
    "opt-out": (BounceClass.UNSUBSCRIBED, BounceCause.OPT_OUT),
    "opt-out-list": (BounceClass.UNSUBSCRIBED, BounceCause.OPT_OUT),
    "unsubscribe": (BounceClass.UNSUBSCRIBED, BounceCause.OPT_OUT),
    "not-spam": (BounceClass.NONE, BounceCause.NOT_SPAM),
    "dkim": (BounceClass.NONE, BounceCause.AUTHENTICATION),
    "auth-failure": (BounceClass.NONE, BounceCause.AUTHENTICATION),  # RFC 6591: no person complained
})  # fmt: skip
_RECIPIENT_FIELDS = ("original-rcpt-to", "removal-recipient", "original-recipient")
_RETURNED_RECIPIENT_FIELDS = (
    "x-hmxmroriginalrecipient",
    "x-original-to",
    "delivered-to",
    "envelope-to",
    "x-rcpt-to",
)
_COMPLAINT_SUBJECT = re.compile(
    r"complaint about (?:a )?message|abuse report|spam (?:report|complaint)", re.IGNORECASE
)
_REPORTER = re.compile(
    r"^(?:staff|fbl|feedback\w*|complaints?|abuse|scomp|noreply|no-reply)[^@]*@", re.IGNORECASE
)


def read_feedback(mail: Mail) -> tuple[tuple[RecipientReport, ...], Returned] | None:
    """Return the findings of a complaint and the message that it is about, or None if the mail is none."""
    part = next((one for one in mail.parts if one.type == FEEDBACK_TYPE), None)
    about = returned_part(mail)
    returned = returned_of(about) if about else Returned()
    if part is not None:
        fields = read_headers(re.sub(rb"\n[ \t]*\n", b"\n", part.content().strip(b"\n")))
    elif about is not None and _is_unmarked_complaint(mail.headers, returned):
        fields = Headers()
    else:
        return None
    outcome, cause = _TYPES.get(
        fields.get("feedback-type").strip().lower(), (BounceClass.COMPLAINT, BounceCause.ABUSE)
    )
    words = next(
        (one.text().strip() for one in mail.parts if one.type == "text/plain" and one is not about), ""
    )
    found = [typed_address(value) for name in _RECIPIENT_FIELDS for value in fields.all(name)]
    found = list(dict.fromkeys(filter(None, found))) or _recipients(returned)
    return tuple(
        RecipientReport(outcome, cause, recipient, reason=words) for recipient in found[:MAX_FINDINGS] or [""]
    ), returned


def _recipients(returned: Returned) -> list[str]:
    """Return the recipient by the returned headers, if it is one and not withheld."""
    for name in _RETURNED_RECIPIENT_FIELDS:
        if found := addresses_in(returned.headers.get(name)):
            return found[:1]
    return returned.recipients if len(returned.recipients) == 1 else []


def _is_unmarked_complaint(headers: Headers, returned: Returned) -> bool:
    """Return whether it is a complaint in another form, such as Microsoft's JMRP: a returned message and a subject."""
    if headers.report_type == "feedback-report" or returned.headers.get("x-hmxmroriginalrecipient"):
        return True
    sender = next(iter(addresses_in(headers.get("from"))), "")
    return bool(_COMPLAINT_SUBJECT.search(headers.get("subject")) and _REPORTER.match(sender))
