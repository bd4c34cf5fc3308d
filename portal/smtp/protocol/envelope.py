"""Envelope and message of a transaction: the MAIL and RCPT commands, dot-stuffing, and the queue id of the reply."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..mailbox import Mailbox, parse_mailbox

if TYPE_CHECKING:
    from .reply import EhloFeatures, Reply

_MAX_LINE_BYTES = 998  # without CRLF, RFC 5321 section 4.5.3.1.6 and RFC 5322 section 2.1.1
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(=[!-<>-~]+)?")  # esmtp-param, RFC 5321 section 4.1.2
_COMPUTED = ("SIZE", "BODY", "SMTPUTF8")  # computed here from the message and the server's extensions

# Where servers state their queue id in the final reply. The first match counts, so the exact forms come first.
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
    """The server has accepted the message: its final reply, and its queue id if the reply states one."""

    reply: Reply
    queue_id: str | None


@dataclass(frozen=True)
class Envelope:
    """Sender and recipient. ``options`` are further MAIL parameters, such as ``RET=FULL``.

    ``reference``: letters and digits, which a server that offers DSN (RFC 3461) repeats in its reports as the ENVID.
    """

    sender: Mailbox
    recipient: Mailbox
    options: tuple[str, ...] = ()
    reference: str = ""

    @classmethod
    def parse(cls, sender: str, recipient: str, options: tuple[str, ...] = ()) -> Envelope:
        """Parse both addresses strictly. Raises ValueError (MailboxError)."""
        if not all(_PARAMETER.fullmatch(option) for option in options):
            raise ValueError("A MAIL parameter breaks the grammar of RFC 5321.")
        kept = tuple(o for o in options if o.partition("=")[0].upper() not in _COMPUTED)
        return cls(parse_mailbox(sender), parse_mailbox(recipient), kept)

    @cached_property
    def needs_smtputf8(self) -> bool:
        return not (self.sender.is_ascii and self.recipient.is_ascii)

    def mail_command(self, features: EhloFeatures, message: bytes | None) -> str:
        """Return the MAIL command with the parameters the server supports (RFC 1870, 6152, 6531)."""
        parameters = list(self.options)
        if self.reference and "DSN" in features:
            parameters += ["RET=HDRS", f"ENVID={self.reference}"]
        if message is not None and "SIZE" in features:
            parameters.append(f"SIZE={len(message)}")
        # Without 8BITMIME the octets are sent unchanged: nearly all servers accept them, and refusing loses mail.
        if message is not None and "8BITMIME" in features and not message.isascii():
            parameters.append("BODY=8BITMIME")
        if self.needs_smtputf8:
            parameters.append("SMTPUTF8")
        return " ".join([f"MAIL FROM:<{self.sender}>", *parameters])

    def rcpt_command(self, features: EhloFeatures) -> str:
        """Return the RCPT command; with DSN it names the recipient as it was mailed (RFC 3461 section 4.2)."""
        command = f"RCPT TO:<{self.recipient}>"
        if self.reference and "DSN" in features and self.recipient.is_ascii:
            command += f" ORCPT=rfc822;{_xtext(str(self.recipient))}"
        return command

    def commands(self, features: EhloFeatures, message: bytes | None) -> list[str]:
        """Return the commands that precede the message, in order."""
        return [self.mail_command(features, message), self.rcpt_command(features), "DATA"]


@dataclass(frozen=True)
class OutgoingMessage:
    """One message with its envelope, both checked."""

    envelope: Envelope
    message: bytes = field(repr=False)

    @classmethod
    def build(
        cls, sender: str, recipient: str, message: bytes, options: tuple[str, ...] = ()
    ) -> OutgoingMessage:
        """Check addresses and message. Raises ValueError."""
        check_message(message)
        return cls(Envelope.parse(sender, recipient, options), message)


def _xtext(text: str) -> str:
    """Return printable ASCII as xtext (RFC 3461 section 4): ``+`` and ``=`` are written as hexadecimal digits."""
    return text.replace("+", "+2B").replace("=", "+3D")


def check_message(message: bytes) -> None:
    """Raise ValueError unless every line ends in CRLF and has at most 998 octets.

    Some servers read a bare CR or LF as a line end and others do not; with one, a body can smuggle a second
    message (CVE-2023-51764). It is not repaired here, because that would hide a bug in the composer.
    """
    pairs = message.count(b"\r\n")
    if not message.count(b"\r") == message.count(b"\n") == pairs or b"\0" in message:
        raise ValueError("The message holds a bare CR, a bare LF or a NUL.")
    start, last = 0, len(message) - _MAX_LINE_BYTES
    while start < last:
        # Searching backwards finds the last CRLF of several short lines, and none in a line that is too long.
        end = message.rfind(b"\r\n", start, start + _MAX_LINE_BYTES + 2)
        if end < 0:
            raise ValueError(f"The message has a line of more than {_MAX_LINE_BYTES} octets.")
        start = end + 2


def dot_stuff(message: bytes) -> bytes:
    """Return the message as it is transmitted: leading dots doubled, ended by a lone dot (RFC 5321 4.5.2)."""
    ended = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    doubled = ended.replace(b"\r\n.", b"\r\n..")
    return (b"." if doubled.startswith(b".") else b"") + doubled + b".\r\n"


def parse_queue_id(reply: Reply) -> str | None:
    """Return the queue id that the reply states, or None."""
    matches = (match for pattern in _QUEUE_IDS if (match := pattern.search(reply.text)))
    first = next(matches, None)
    return first.group(1).rstrip(".")[:200] if first else None
