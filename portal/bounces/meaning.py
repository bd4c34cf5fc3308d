"""What a bounce, a complaint or a provider's event means, and how several of them about one message are joined.

A report is one statement about one message, from any source. The state of a message is the highest meaning that was reported, so
the order in which reports arrive, and repeated ones, make no difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ..smtp.diagnosis.diagnose import DiagnosisKind, RetryClass, explain
from ..smtp.failure import Stage


class Meaning(StrEnum):
    """What is reported about a message."""

    HARD = "hard"  # there is no such mailbox or domain
    SOFT = "soft"  # given up for another reason, such as a full mailbox
    BLOCKED = "blocked"  # refused by policy, reputation or content
    COMPLAINT = "complaint"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no further ones
    DELIVERED = "delivered"  # the receiver's server accepted it
    DELAYED = "delayed"  # it is tried again
    AUTO_REPLY = "auto-reply"
    UNKNOWN = "unknown"  # the report was not understood


# The state of a message is the first of these. The other meanings are no state: they are not about its delivery.
_STATES = (
    Meaning.COMPLAINT,
    Meaning.HARD,
    Meaning.BLOCKED,
    Meaning.SOFT,
    Meaning.DELIVERED,
    Meaning.DELAYED,
)
RANKS = {meaning: len(_STATES) - place for place, meaning in enumerate(_STATES)}
BOUNCES = (Meaning.HARD, Meaning.BLOCKED, Meaning.SOFT)
REASON_CHARS = 300
_CLOCK_SKEW = timedelta(days=1)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# RFC 3463, RFC 7505: no such mailbox, no such domain, bad syntax, moved, domain without mail.
_NO_SUCH_MAILBOX = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10"})
_BY_SUBJECT = {  # the middle number of an enhanced code, if the text does not decide
    "3": Meaning.SOFT,  # the receiver's system
    "4": Meaning.SOFT,  # network and routing
    "5": Meaning.SOFT,  # protocol
    "6": Meaning.BLOCKED,  # content
    "7": Meaning.BLOCKED,  # policy
}
_DISABLED, _TOO_LONG = "2.1", "2.3"
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?=[ -]|$)")
_MAX_TEXT_CHARS = 2000
_UNKNOWN_CASES = ("recipient-unknown", "recipient-not-found", "recipient-domain-unknown", "recipient-closed")
_PROVIDER_LIST = "recipient-suppressed"
_BLOCKING_KINDS = (
    DiagnosisKind.CONTENT,
    DiagnosisKind.SECURITY,
    DiagnosisKind.RATE,
    DiagnosisKind.SENDER_IDENTITY,
)


@dataclass(frozen=True)
class Report:
    """One statement about one message to one recipient.

    ``key`` identifies it among the reports of its source: a repeated one has the same key. ``reference``, ``queue_id`` and
    ``header_id`` identify the message, in this order; ``queue_id`` is the id that the submission server gave it,
    ``header_id`` its Message-ID. An address alone never identifies a message. ``proof`` may be used by one report only.
    """

    meaning: Meaning
    key: str
    kind: str = ""  # in the source's own words, such as "failed, permanent"
    recipient: str = ""
    occurred_at: datetime | None = None  # None: when it was received
    status: str = ""  # the enhanced code, RFC 3463
    reply_code: int | None = None
    reason: str = ""  # the receiver's words
    reference: str = ""
    queue_id: str = ""
    header_id: str = ""
    proof: str = ""
    is_listed: bool = False  # the provider's own list kept it from being sent
    raw: str = ""  # as it came


def plausible_time(at: datetime | None, *, now: datetime) -> datetime:
    """Return the time that a report states, or ``now`` if it states none, one in the future, or one long past.

    PostgreSQL gives no time of the year 1 back where its time zone is west of Greenwich.
    """
    return at if at is not None and _EARLIEST <= at <= now + _CLOCK_SKEW else now


def enhanced_code(text: str) -> str:
    """Return the first enhanced code in a text, such as 5.1.1, or an empty text."""
    found = _ENHANCED.search(text[:_MAX_TEXT_CHARS])
    return found[0] if found else ""


def reply_code(text: str) -> int | None:
    """Return the first SMTP reply code in a text."""
    found = _CODE.search(text[:_MAX_TEXT_CHARS])
    return int(found[1]) if found else None


def classify(status: str, text: str, *, default: Meaning) -> Meaning:
    """Return what a final refusal means, by its enhanced code, else by the receiver's words, else ``default``."""
    _, _, detail = (status or enhanced_code(text)).partition(".")
    if detail in _NO_SUCH_MAILBOX or detail == _DISABLED:
        return Meaning.HARD
    subject = detail.partition(".")[0]
    if subject in _BY_SUBJECT:
        return _BY_SUBJECT[subject]
    if detail == _TOO_LONG:
        return Meaning.BLOCKED
    if subject == "2" and detail != "2.0":
        return Meaning.SOFT  # a full mailbox, a list that fails
    return _by_words(text, default) if text.strip() else default


def _by_words(text: str, default: Meaning) -> Meaning:
    """Read the receiver's words as those of a server that refuses a message."""
    code = reply_code(text)
    diagnosis = explain("", Stage.RCPT, text[:_MAX_TEXT_CHARS] if code else f"550 {text[:_MAX_TEXT_CHARS]}")
    if diagnosis.code in _UNKNOWN_CASES:
        return Meaning.HARD
    if diagnosis.code == _PROVIDER_LIST or diagnosis.kind in _BLOCKING_KINDS:
        return Meaning.BLOCKED
    return Meaning.SOFT if diagnosis.retry_class is RetryClass.LATER else default
