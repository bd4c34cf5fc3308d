"""What a bounce mail states: the outcome and its cause for each recipient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BounceClass(StrEnum):
    """What happened to the message, by the report. The values are those of ``class`` in the command's JSON."""

    HARD = "hard"  # the address cannot receive mail: unknown mailbox or domain, or moved
    SOFT = "soft"  # given up after a passing cause: full mailbox, no connection, failed server
    BLOCKED = "blocked"  # refused by policy, content or reputation: the address may exist
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    DELIVERED = "delivered"
    DELAYED = "delayed"  # the sending server tries again
    AUTO_REPLY = "auto-reply"
    NONE = "none"  # no report


class BounceCause(StrEnum):
    """Why, as far as it shows. The values are those of ``kind`` in the command's JSON."""

    UNKNOWN_MAILBOX = "unknown-mailbox"
    UNKNOWN_DOMAIN = "unknown-domain"
    MOVED = "moved"
    MAILBOX_DISABLED = "mailbox-disabled"
    MAILBOX_FULL = "mailbox-full"
    TOO_BIG = "too-big"
    CONTENT = "content"  # spam, virus, form of the message
    REPUTATION = "reputation"  # block lists, reverse DNS, the name in EHLO
    AUTHENTICATION = "authentication"  # SPF, DKIM, DMARC
    SENDER = "sender"  # the envelope sender or the account is refused
    POLICY = "policy"
    SUPPRESSED = "suppressed"  # the provider's own list of addresses it does not mail
    RATE = "rate"
    UNREACHABLE = "unreachable"  # no connection, no answer in time, or DNS failed
    SERVER = "server"  # the receiving system failed
    LOOP = "loop"
    OTHER = "other"
    ABUSE = "abuse"  # of complaints; RFC 5965 section 7.3
    FRAUD = "fraud"
    VIRUS = "virus"
    NOT_SPAM = "not-spam"
    OPT_OUT = "opt-out"
    OUT_OF_OFFICE = "out-of-office"
    READ_RECEIPT = "read-receipt"
    NOTHING = ""


@dataclass(frozen=True)
class RecipientReport:
    """What a report states about one recipient.

    ``recipient`` is the address that failed; ``original_recipient`` the one that was mailed, where the report names another.
    ``status`` is the enhanced code ("5.1.1") and ``reply_code`` the SMTP code ("550"), both "" if none shows. ``reason``
    holds the words of the receiving server, at most ``MAX_REASON_CHARS`` printable characters.
    """

    outcome: BounceClass
    cause: BounceCause = BounceCause.NOTHING
    recipient: str = ""
    original_recipient: str = ""
    status: str = ""
    reply_code: str = ""
    reason: str = ""


class Form(StrEnum):
    """The format that was recognised."""

    DELIVERY_STATUS = "delivery-status"  # RFC 3464
    FEEDBACK = "feedback"  # RFC 5965
    TEXT = "text"  # words only
    NOTIFICATION = "notification"  # a provider's JSON event, sent by email
    AUTO_REPLY = "auto-reply"
    NONE = "none"


@dataclass(frozen=True)
class MailReport:
    """A mail that was read. ``findings`` has at least one entry; ``BounceClass.NONE`` alone means no report.

    ``message_id``, ``reference`` and ``envelope_id`` name the message that the report is about, "" if it names none:
    the Message-ID without brackets, the header ``X-Signet-Ref``, and the ENVID of the envelope (RFC 3461 section 4.4).
    ``delivered_to`` holds the addresses to which the report was sent, for a reference in the envelope sender (VERP).
    """

    form: Form
    findings: tuple[RecipientReport, ...]
    message_id: str = ""
    reference: str = ""
    envelope_id: str = ""
    delivered_to: tuple[str, ...] = ()


MAX_REASON_CHARS = 300
MAX_FINDINGS = 100  # recipients of one report
