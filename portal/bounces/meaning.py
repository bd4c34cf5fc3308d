"""What a bounce, a complaint or a provider's event means, and how several of them about one message are joined.

A report is one statement about one message, from any source. The state of a message is the highest meaning that was reported, so
the order in which reports arrive, and repeated ones, make no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from .parsing.meaning import first_reply_code, first_status, meaning_of
from .parsing.model import BounceCause


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
DELIVERED = (Meaning.DELIVERED, Meaning.COMPLAINT)  # a person who complains has got the message
REASON_CHARS = 300
NOT_HANDED_OUT = (
    "email-not-handed-out"  # kind of an event of unknown meaning: a mailbox's server gave out no such email
)
_CLOCK_SKEW = timedelta(days=1)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_TEXT_CHARS = 2000


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
    """Return the first enhanced code in a text, such as 5.1.1, a specific one before 5.0.0; or an empty text."""
    return first_status(text[:_MAX_TEXT_CHARS])


def reply_code(text: str) -> int | None:
    """Return the first SMTP reply code of a refusal in a text."""
    found = first_reply_code(text[:_MAX_TEXT_CHARS])
    return int(found) if found else None


def classify(status: str, text: str, *, default: Meaning) -> Meaning:
    """Return what a final refusal means; ``default`` where neither the receiver's words nor a code state it.

    Bounce mails are read by the same function, so that one refusal means the same however it is reported.
    """
    found = meaning_of(text, status)
    return default if found.cause is BounceCause.OTHER else Meaning(found.outcome.value)
