"""Reads one message as a person would: decoded headers, its text, its HTML. Nothing in it can raise.

What lies in the inbox folder may be hand-made, cut off or of no known charset; a message that cannot
be understood is shown as far as it can be.
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

_SHOWN = 200_000  # characters of text or HTML on a page; the raw message has all
_HEADERS = 200  # header fields on a page
_NONCHARACTERS = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")
# What Python's email package is known to raise on malformed input, beside its own MessageError.
_BROKEN = (MessageError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


@dataclass(frozen=True)
class Letter:
    """A message taken apart. ``text`` and ``html`` are None where there is no such part."""

    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None

    def header(self, name: str) -> str:
        """Return the first header of that name; empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")


def head(raw: bytes) -> Letter:
    """Read the headers alone."""
    try:
        return Letter(_headers(BytesHeaderParser().parsebytes(raw)), None, None)
    except _BROKEN:
        return Letter((), None, None)


def whole(raw: bytes) -> Letter:
    """Read headers and body; a body that cannot be taken apart is shown as text."""
    try:
        message = email.message_from_bytes(raw)
        return Letter(_headers(message), _part(message, "text/plain"), _part(message, "text/html"))
    except _BROKEN:
        return Letter(head(raw).headers, plain(raw.decode("utf-8", "replace"))[:_SHOWN], None)


def plain(text: str) -> str:
    """Return text any page can hold: without lone surrogates and the characters HTML forbids."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode("utf-8"))


def _headers(message: Message) -> tuple[tuple[str, str], ...]:
    pairs = list(message.raw_items())[:_HEADERS]
    return tuple((plain(str(name)), words(str(value))) for name, value in pairs)


def words(raw: str) -> str:
    """Decode one header's value: unfolded, encoded words (RFC 2047) and plain 8-bit alike."""
    flat = " ".join(_from_bytes(raw.encode("utf-8", "surrogateescape"), "utf-8").split())
    if "=?" not in flat:
        return plain(flat)
    try:
        pieces = decode_header(flat)
        return plain("".join(p if isinstance(p, str) else _from_bytes(p, charset) for p, charset in pieces))
    except _BROKEN:
        return plain(flat)


def _part(message: Message, kind: str) -> str | None:
    for part in _leaves(message):
        if part.get_content_type() != kind or part.get_content_disposition() == "attachment":
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            return plain(_from_bytes(content, part.get_content_charset()))[:_SHOWN]
    return None


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _from_bytes(content: bytes, charset: str | None) -> str:
    try:
        return content.decode(charset or "utf-8")
    except (ValueError, LookupError):  # not in that charset, or no charset Python knows
        return content.decode("utf-8", "replace") if _is_utf8(content) else content.decode("latin-1")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
