"""What goes into MAIL, RCPT and DATA, and what a server's final word tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..mailbox import Mailbox, parse_mailbox

if TYPE_CHECKING:
    from .reply import EhloFeatures, Reply

_LINE_LIMIT = 998  # octets without CRLF, RFC 5321 section 4.5.3.1.6 and RFC 5322 section 2.1.1
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(=[!-<>-~]+)?")  # esmtp-param, RFC 5321 section 4.1.2
_COMPUTED = ("SIZE", "BODY", "SMTPUTF8")  # decided here, from the message and the server's offer

# Where providers hide the name they gave the message. First match wins, so the exact forms come first.
_QUEUE_IDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bqueued(?: mail)?(?: for delivery)? as <?([\w.@+-]+)>?",  # Postfix, Brevo, Postmark, Haraka
        r"\bid=<?([\w.@+-]+)>?",  # Exim, Mailgun
        r"^([\w.-]{6,}) message accepted for delivery",  # sendmail
        r"^<([^<>\s]+)> .*queued mail for delivery",  # Exchange
        r"^ok <?(?:queued )?([0-9a-f]{16,}-[0-9a-f-]{20,}(?:-\d+)?)>?",  # SES
        r"^ok:? queued (?:as|id) ([\w.-]+)",  # Haraka's relatives
        r"^ok\s+\d+ ([\w.-]+) - gsmtp",  # Google
        r"\bmessage[- ]?id[:= ]+<?([\w.@+-]{6,})>?",
        r"\b(?:accepted|queued)\W+<?([\w.@+-]*\d[\w.@+-]{5,})>?",
    )
)


@dataclass(frozen=True)
class Acceptance:
    """The server has taken the message: its last reply, and its own name for the message if it told one."""

    reply: Reply
    queue_id: str | None


@dataclass(frozen=True)
class Envelope:
    """Whose message goes to whom. ``options`` are further MAIL parameters such as ``RET=HDRS`` (RFC 3461)."""

    sender: Mailbox
    recipient: Mailbox
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, sender: str, recipient: str, options: tuple[str, ...] = ()) -> Envelope:
        """Read both addresses strictly; raises ValueError (MailboxError) before anything is said."""
        if not all(_PARAMETER.fullmatch(option) for option in options):
            raise ValueError("A MAIL parameter breaks the grammar of RFC 5321.")
        kept = tuple(o for o in options if o.partition("=")[0].upper() not in _COMPUTED)
        return cls(parse_mailbox(sender), parse_mailbox(recipient), kept)

    @property
    def needs_smtputf8(self) -> bool:
        return not (self.sender.is_ascii and self.recipient.is_ascii)

    def mail_command(self, features: EhloFeatures, message: bytes | None) -> str:
        """Return the MAIL command with the parameters this server understands (RFC 1870, 6152, 6531)."""
        parameters = list(self.options)
        if message is not None and "SIZE" in features:
            parameters.append(f"SIZE={len(message)}")
        # Without 8BITMIME the octets go as they are: refusing would lose mail that nearly all servers take.
        if message is not None and "8BITMIME" in features and not message.isascii():
            parameters.append("BODY=8BITMIME")
        if self.needs_smtputf8:
            parameters.append("SMTPUTF8")
        return " ".join([f"MAIL FROM:<{self.sender}>", *parameters])

    def rcpt_command(self) -> str:
        return f"RCPT TO:<{self.recipient}>"

    def commands(self, features: EhloFeatures, message: bytes | None) -> list[str]:
        """Return what is said before the message, in its order."""
        return [self.mail_command(features, message), self.rcpt_command(), "DATA"]


@dataclass(frozen=True)
class OutgoingMessage:
    """One message with its envelope, both proved to be sayable."""

    envelope: Envelope
    message: bytes = field(repr=False)

    @classmethod
    def of(
        cls, sender: str, recipient: str, message: bytes, options: tuple[str, ...] = ()
    ) -> OutgoingMessage:
        """Check everything; raises ValueError for addresses that are none and messages that need repair."""
        check_message(message)
        return cls(Envelope.of(sender, recipient, options), message)


def check_message(message: bytes) -> None:
    """Raise ValueError unless every line ends in CRLF and has at most 998 octets.

    A bare CR or LF is read as a line end by some servers and not by others: that is how a body smuggles a
    second message (CVE-2023-51764). Repairing it here would hide the fault of whoever composed it.
    """
    pairs = message.count(b"\r\n")
    if not message.count(b"\r") == message.count(b"\n") == pairs or b"\0" in message:
        raise ValueError("The message holds a bare CR, a bare LF or a NUL.")
    start, last = 0, len(message) - _LINE_LIMIT
    while start < last:
        # The last line end within reach: a line that is too long has none, and lines between need no look.
        end = message.rfind(b"\r\n", start, start + _LINE_LIMIT + 2)
        if end < 0:
            raise ValueError(f"The message has a line of more than {_LINE_LIMIT} octets.")
        start = end + 2


def dot_stuff(message: bytes) -> bytes:
    """Return the message as it travels: leading dots doubled, closed by the lone dot (RFC 5321 4.5.2)."""
    ended = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    doubled = ended.replace(b"\r\n.", b"\r\n..")
    return (b"." if doubled.startswith(b".") else b"") + doubled + b".\r\n"


def parse_queue_id(reply: Reply) -> str | None:
    """Return the server's name for an accepted message, as far as its wording gives one away."""
    found = (match for pattern in _QUEUE_IDS if (match := pattern.search(reply.text)))
    first = next(found, None)
    return first.group(1).rstrip(".")[:200] if first else None
