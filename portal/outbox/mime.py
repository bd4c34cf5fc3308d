"""Turn a message into the bytes that travel, and prove that they say what was meant and nothing more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email import message_from_bytes
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from ..smtp.mailbox import header_safe

# Quoted-printable keeps every line short and survives servers that know no 8BITMIME (RFC 2045).
_ENCODING = "quoted-printable"
_LINE_LIMIT = 998  # octets, RFC 5322 section 2.1.1
_FOLDED = 76  # characters in a line of encoded words, RFC 2047 section 2
_PLAIN_SUBJECT = 900  # characters, on one line
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00")


class MessageRefused(Exception):
    """The message cannot be sent: a header would break, or its bytes would not say what was meant."""


def mailbox_header(display_name: str, mailbox: str) -> str:
    """Return ``"Ada Lovelace" <ada@example.org>`` with the name quoted or encoded as needed."""
    local, _, domain = mailbox.rpartition("@")
    return str(Address(display_name=display_name, username=local, domain=domain))


def serialise(headers: Mapping[str, str], text: str, html: str) -> bytes:
    """Return the message as bytes with CRLF line ends. Raises MessageRefused."""
    bad = [name for name, value in headers.items() if not header_safe(value)]
    if bad:
        raise MessageRefused(f"{bad[0]} holds a control character")
    message = EmailMessage(policy=SMTP)
    for name, value in headers.items():
        if name != "Subject":
            message[name] = value
    message.set_content(_lines(text), cte=_ENCODING)
    if html:
        message.add_alternative(_lines(html), subtype="html", cte=_ENCODING)
    raw = _subject_line(headers["Subject"]) + message.as_bytes()
    _prove(raw, headers)
    return raw


def _subject_line(subject: str) -> bytes:
    """Write the subject; the modern policy loses spaces where it folds a text of many scripts."""
    plain = subject.isascii() and "=?" not in subject and len(subject) < _PLAIN_SUBJECT
    coded = subject if plain else Header(subject, "utf-8", _FOLDED, "Subject").encode(linesep="\r\n")
    return f"Subject: {coded}\r\n".encode("ascii")


def _lines(body: str) -> str:
    """Make every line end the same and drop what no mail may carry."""
    body = body.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return body.encode("utf-8", "replace").decode("utf-8")


def _prove(raw: bytes, headers: Mapping[str, str]) -> None:
    """Read the bytes back as a stranger would; interpreters differ in what they let through."""
    if _BARE.search(raw):
        raise MessageRefused("a line does not end in CRLF")
    if any(len(line) > _LINE_LIMIT for line in raw.split(b"\r\n")):
        raise MessageRefused("a line is longer than 998 octets")
    parsed = message_from_bytes(raw, policy=SMTP)
    meant = {*map(str.lower, headers), "mime-version", "content-type", "content-transfer-encoding"}
    found = [name.lower() for name in parsed]
    if not set(found) <= meant or len(found) != len(set(found)):
        raise MessageRefused("a header appeared that was not put there")
    if str(parsed["Subject"]).strip() != " ".join(headers["Subject"].split(" ")).strip():
        raise MessageRefused("the subject would not arrive as written")
