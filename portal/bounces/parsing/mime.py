"""A bounded reader of mails: headers and parts as text, in linear time.

The ``email`` package parses nested parts in time that grows with the depth times the lines, and raises for some hostile
headers. Bounce mails come from anyone, so this reader takes the first ``MAX_BYTES`` of a mail, at most ``_MAX_DEPTH``
levels and ``_MAX_PARTS`` parts, and accepts any bytes.
"""

from __future__ import annotations

import binascii
import codecs
import re
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from html import unescape
from typing import TYPE_CHECKING

from ...smtp.protocol.charsets import decode_guessing, is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 512 * 1024  # a report states its findings before the message that it returns
_MAX_HEADER_BYTES = 64 * 1024
_MAX_VALUE_CHARS = 2000
_MAX_LINES_OF_VALUE = 40
_MAX_DEPTH = 6
_MAX_PARTS = 40
_MAX_TEXT_CHARS = 128 * 1024  # of one part
# Codecs that are no charsets of mail, or decode in quadratic time.
_NO_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "unicode_escape"}
)
_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,80}")
_BOUNDARY = re.compile(r"boundary\s{0,9}=\s{0,9}(?:\"([^\"]{1,200})\"?|([^\s;\"]{1,200}))", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}\"?([\w.:+-]{1,40})", re.IGNORECASE)
_REPORT_TYPE = re.compile(r"report-type\s{0,9}=\s{0,9}\"?([\w-]{1,40})", re.IGNORECASE)
_GUESSED_BOUNDARY = re.compile(
    rb"(?m)^--([^\s-][^\n]{0,199}|-{0,70}[^\s-][^\n]{0,130})\n(?=Content-)", re.IGNORECASE
)
_TAG = re.compile(r"<[^<>]*>")
_BLOCK_TAG = re.compile(r"</?(?:br|p|div|tr|li|table|h[1-6]|pre|hr|td)\b", re.IGNORECASE)
_ADDRESS_IN_TAG = re.compile(r"<[^\s<>@]{1,64}@[^\s<>@]{1,253}>")


@dataclass(frozen=True)
class Headers:
    """Header fields in order; names in lower case, values unfolded and cut at ``_MAX_VALUE_CHARS``."""

    fields: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        """Return the values of a field, as they are."""
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str:
        """Return the first value of a field with encoded words decoded (RFC 2047), or ""."""
        return next((decode_words(value) for key, value in self.fields if key == name), "")

    @property
    def content_type(self) -> str:
        """The media type in lower case, "text/plain" if none is stated."""
        return (
            next(iter(re.split(r"[;\s]", self.get("content-type").strip().lower(), maxsplit=1)), "")
            or "text/plain"
        )

    def _parameter(self, pattern: re.Pattern[str]) -> str:
        found = pattern.search(self.get("content-type"))
        return next(filter(None, found.groups()), "") if found else ""

    @property
    def boundary(self) -> str:
        return self._parameter(_BOUNDARY)

    @property
    def charset(self) -> str:
        return self._parameter(_CHARSET)

    @property
    def report_type(self) -> str:
        return self._parameter(_REPORT_TYPE).lower()


def decode_words(value: str) -> str:
    """Return a value with its encoded words decoded; unchanged if they are malformed."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError, AssertionError):
        return value


def read_headers(block: bytes) -> Headers:
    """Return the fields of a header block. Lines that are no fields are left out."""
    fields: list[tuple[str, list[bytes]]] = []
    current: list[bytes] = []
    for line in block[:_MAX_HEADER_BYTES].split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if len(current) < _MAX_LINES_OF_VALUE:
                current.append(line.strip())
            continue
        name, colon, value = line.partition(b":")
        name = name.strip()
        current = [value.strip()]
        if colon and _NAME.fullmatch(name):
            fields.append((name.decode("ascii").lower(), current))
    return Headers(tuple((name, _decode(b" ".join(lines)[:_MAX_VALUE_CHARS], "")) for name, lines in fields))


def _decode(raw: bytes, charset: str) -> str:
    """Return text by its stated charset, where that fits, else by the one that fits best."""
    if charset and charset.lower() not in {"us-ascii", "ascii", "utf-8", "utf8"}:
        try:
            if codecs.lookup(charset).name not in _NO_CHARSETS:
                return raw.decode(charset, "replace")
        except (LookupError, UnicodeError, ValueError):
            pass
    if is_utf8(raw):
        return raw.decode("utf-8", "replace")
    return decode_guessing(raw)


@dataclass(frozen=True)
class Part:
    """A part without parts of its own."""

    headers: Headers
    body: bytes

    @property
    def type(self) -> str:
        return self.headers.content_type

    def content(self) -> bytes:
        """Return the body without its transfer encoding."""
        encoding = self.headers.get("content-transfer-encoding").strip().lower()
        if encoding == "quoted-printable":
            return binascii.a2b_qp(self.body)
        if encoding == "base64":
            letters = re.sub(rb"[^A-Za-z0-9+/]", b"", self.body)
            return binascii.a2b_base64(letters[: len(letters) // 4 * 4]).replace(b"\r\n", b"\n")
        return self.body

    def text(self) -> str:
        """Return the text, of HTML without its tags."""
        text = _decode(self.content()[:_MAX_TEXT_CHARS], self.headers.charset)
        return plain_from_html(text) if self.type == "text/html" else text


def plain_from_html(text: str) -> str:
    """Return the words of HTML, with line breaks where blocks end. Addresses in angle brackets are no tags."""
    return unescape(_TAG.sub(_without_tag, text)).replace("\xa0", " ")


def _without_tag(found: re.Match[str]) -> str:
    tag = found[0]
    if _ADDRESS_IN_TAG.fullmatch(tag):
        return tag
    return "\n" if _BLOCK_TAG.match(tag) else ""


@dataclass(frozen=True)
class Mail:
    """A mail: its headers and its parts in order."""

    headers: Headers
    parts: list[Part] = field(default_factory=list)


def read_mail(raw: bytes) -> Mail:
    """Return the first ``MAX_BYTES`` of a mail as headers and parts. Any bytes are accepted."""
    raw = raw[:MAX_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"").lstrip(b"\n")
    if raw.startswith((b"From ", b">From ")):  # the separator line of an mbox
        raw = raw.partition(b"\n")[2]
    headers, body = split_head(raw)
    mail = Mail(headers)
    for part in _leaves(headers, body, 0):
        mail.parts.append(part)
        if len(mail.parts) >= _MAX_PARTS:
            break
    return mail


def split_head(raw: bytes) -> tuple[Headers, bytes]:
    """Return headers and body; without an empty line, all is headers."""
    if raw.startswith(b"\n"):
        return Headers(), raw[1:]
    head, _, body = raw.partition(b"\n\n")
    return read_headers(head), body


def _leaves(headers: Headers, body: bytes, depth: int) -> Iterator[Part]:
    if depth >= _MAX_DEPTH or not headers.content_type.startswith("multipart/"):
        yield Part(headers, body)
        return
    pieces = _split(body, headers.boundary)
    if len(pieces) == 1 and (guessed := _GUESSED_BOUNDARY.search(body)):
        pieces = _split(body, guessed[1].decode("latin-1"))
    if len(pieces) == 1:
        yield Part(Headers(), body)
    for piece in pieces[1:]:
        inner, rest = split_head(piece)
        stated = any(name.startswith("content-") for name, _ in inner.fields)
        if not stated and not piece.startswith(b"\n"):
            # No header of a part: the headers of a returned message, or text from the first line.
            yield Part(Headers(), piece)
        else:
            yield from _leaves(inner, rest, depth + 1)


def _split(body: bytes, boundary: str) -> list[bytes]:
    """Return what is before the first delimiter, then each part."""
    if not boundary:
        return [body]
    delimiter = re.compile(
        rb"(?:^|\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?:\n|$)"
    )
    pieces, start, at = [], 0, 0
    while found := delimiter.search(body, at):
        pieces.append(body[start : found.start()])
        start, at = found.end(), max(found.end() - 1, found.start() + 1)
        if found[1]:
            return pieces
    pieces.append(body[start:])
    return pieces
