"""Parses a message for display: decoded headers, text and HTML part. Never raises.

Files in the inbox folder may be handwritten, truncated or in an unknown charset. A malformed message is shown
as far as it can be parsed.
"""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

_MAX_BODY_CHARS = 200_000  # of text or HTML on a page; the raw message is complete
_MAX_HEADERS = 200  # header fields on a page
_NONCHARACTERS = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")
# What Python's email package raises on malformed input, beside its own MessageError.
_PARSE_ERRORS = (
    MessageError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
)


@dataclass(frozen=True)
class MessageView:
    """A parsed message. ``text`` and ``html`` are None if there is no such part."""

    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None

    def header(self, name: str) -> str:
        """Return the value of the first header with this name, empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")


def parse_headers(raw: bytes) -> MessageView:
    """Parse the headers only."""
    try:
        return MessageView(_headers(BytesHeaderParser().parsebytes(raw)), None, None)
    except _PARSE_ERRORS:
        return MessageView((), None, None)


def parse_message(raw: bytes) -> MessageView:
    """Parse headers and body; a body that cannot be parsed is returned as text."""
    try:
        message = email.message_from_bytes(raw)
        return MessageView(_headers(message), _part(message, "text/plain"), _part(message, "text/html"))
    except _PARSE_ERRORS:
        return MessageView(
            parse_headers(raw).headers, printable(raw.decode("utf-8", "replace"))[:_MAX_BODY_CHARS], None
        )


def printable(text: str) -> str:
    """Return text that HTML can contain: without lone surrogates and characters that HTML forbids."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode("utf-8"))


def _headers(message: Message) -> tuple[tuple[str, str], ...]:
    pairs = list(message.raw_items())[:_MAX_HEADERS]
    return tuple((printable(str(name)), decode_header_value(str(value))) for name, value in pairs)


def decode_header_value(raw: str) -> str:
    """Decode a header value: unfold it, decode encoded words (RFC 2047) and raw 8-bit text."""
    flat = " ".join(_from_bytes(raw.encode("utf-8", "surrogateescape"), "utf-8").split())
    if "=?" not in flat:
        return printable(flat)
    try:
        pieces = decode_header(flat)
        return printable(
            "".join(p if isinstance(p, str) else _from_bytes(p, charset) for p, charset in pieces)
        )
    except _PARSE_ERRORS:
        return printable(flat)


def _part(message: Message, kind: str) -> str | None:
    for part in _leaves(message):
        if part.get_content_type() != kind or part.get_content_disposition() == "attachment":
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            return printable(_from_bytes(content, part.get_content_charset()))[:_MAX_BODY_CHARS]
    return None


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _from_bytes(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8")
    except (ValueError, LookupError):  # wrong or unknown charset
        return content.decode("utf-8", "replace") if _is_utf8(content) else content.decode("latin-1")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
