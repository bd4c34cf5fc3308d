"""Serialises a message as MIME, and checks that the bytes contain the intended headers and no others.

The standard library's generator takes more than a millisecond per message, nearly all of it to parse its own headers.
Messages of the outbox have one structure only, so it is written directly. Property tests show that the standard library
parses any text back unchanged; in addition, the bytes of each message are checked.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp
from functools import lru_cache
from operator import itemgetter
from random import getrandbits
from typing import TYPE_CHECKING

from ...smtp.mailbox import is_header_safe
from ...smtp.protocol.envelope import check_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LINE_CHARS = 78  # the recommended limit of a header line, RFC 5322 section 2.1.1
_ENCODED_WORD_CHARS = 75  # RFC 2047 section 2
_FIELD_NAME = re.compile(r"[!-9;-~]{1,40}")
_ADDRESSES = frozenset({"from", "to", "reply-to"})
_TEXTS = frozenset({"subject", "comments"})
_MIME_HEADERS = ["mime-version", "content-type", "content-transfer-encoding"]
_NAMED_MAILBOX = re.compile(r"(?:(.*) )?<([^<>]*)>", re.DOTALL)
_MAILBOX = re.compile(r"[^\s<>@\",;:\\()\[\]]+@[^\s<>@\",;:\\()\[\]]+")
_HEADER_NAMES = re.compile(rb"^([^\s:]+):", re.MULTILINE)
_SPECIALS = re.compile(r'[()<>@,:;.\\"\[\]]|^ | $|  ')  # RFC 5322 section 3.2.3; spaces that would be lost
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# A full line that became too long, as the encoder replaces its last space by three octets after measuring the line.
_OVERLONG = re.compile(rb"^([^\r\n]{74,75})(=20|=09)(?=\r\n)", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")
# Characters that are not encoded in an encoded word of a phrase, RFC 2047 section 5 (3); a space becomes "_".
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_Q_ENCODED = tuple("_" if o == 0x20 else chr(o) if o in _PLAIN else f"={o:02X}" for o in range(256))
_UNEXPANDED = _PLAIN + b" "  # octets that stay one character in the Q encoding
_PART = "Content-Type: text/{}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_TEXT_PART, _HTML_PART = _PART.format("plain").encode(), _PART.format("html").encode()


class MessageRefused(Exception):
    """The message cannot be serialised: a header is invalid, or the bytes would contain something unintended."""


def mailbox_header(display_name: str, mailbox: str) -> str:
    """Return ``"Lovelace, Ada" <ada@example.org>`` unencoded; ``serialise`` encodes it where necessary."""
    if not display_name:
        return mailbox
    if _SPECIALS.search(display_name):
        display_name = '"' + display_name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{display_name} <{mailbox}>"


def serialise(headers: Mapping[str, str], text: str, html: str) -> bytes:
    """Return the message as bytes with CRLF line ends. Raises MessageRefused."""
    fields = "".join([_field(name, value) for name, value in headers.items()]).encode()
    parts = (
        _alternatives(_quoted_printable(text), _quoted_printable(html))
        if html
        else (_TEXT_PART, _quoted_printable(text))
    )
    raw = b"".join((fields, b"MIME-Version: 1.0\r\n", *parts))
    _check(raw, headers)
    return raw


def _alternatives(text: bytes, html: bytes) -> tuple[bytes, ...]:
    # "=_" cannot occur in quoted-printable (RFC 2045 section 6.7), so no body contains it; it is checked anyway.
    boundary = b"=_%024x" % getrandbits(96)
    if boundary in text or boundary in html:
        raise MessageRefused("a body contains the boundary")
    head = b'Content-Type: multipart/alternative; boundary="%s"\r\n' % boundary
    delimiter = b"\r\n--" + boundary
    return (
        head,
        delimiter,
        b"\r\n",
        _TEXT_PART,
        text,
        delimiter,
        b"\r\n",
        _HTML_PART,
        html,
        delimiter,
        b"--\r\n",
    )


# -- bodies


def _quoted_printable(body: str) -> bytes:
    """Return lines of at most 76 octets that any server transmits, even one without 8BITMIME (RFC 2045 section 6.7)."""
    lines = body.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    if not lines.endswith("\n"):
        lines += "\n"
    # The encoder uses the first line ending that it finds for soft line breaks too, so CRLF is set before it runs.
    encoded = b2a_qp(lines.replace("\n", "\r\n").encode("utf-8", "replace"), istext=True)
    if b"=20\r\n" in encoded or b"=09\r\n" in encoded:
        encoded = _OVERLONG.sub(rb"\1=\r\n\2", encoded)
    return encoded


# -- headers


@lru_cache(maxsize=256)  # most headers are the same in successive messages
def _field(name: str, value: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise MessageRefused(f"{name!r} is not a valid header name")
    if not is_header_safe(value):
        raise MessageRefused(f"{name} contains a control character")
    kind = name.lower()
    if kind in _ADDRESSES:
        return _address(name, value)
    if kind in _TEXTS:
        return _text(name, value)
    if not value.isascii():
        raise MessageRefused(f"{name} contains characters other than ASCII")
    return _folded(name, value.split(" "))


def _address(name: str, value: str) -> str:
    """Return one mailbox; a display name that is not short ASCII is written as encoded words."""
    found = _NAMED_MAILBOX.fullmatch(value)
    display, mailbox = found.groups() if found else (None, value)
    if not _MAILBOX.fullmatch(mailbox):
        raise MessageRefused(f"{name} contains no mailbox")
    if display is None:
        return _folded(name, [value])
    quoted = _QUOTED.fullmatch(display) is not None
    if not quoted and _SPECIALS.search(display):
        raise MessageRefused(f"{name} contains more than one mailbox, or a name that is not quoted")
    width = _LINE_CHARS - len(name) - 2
    if display.isascii() and "=?" not in display and len(display) <= width:
        return _folded(name, [display, f"<{mailbox}>"])
    if quoted:
        display = _ESCAPED.sub(itemgetter(1), display[1:-1])
    return _folded(name, [*_encoded_words(display, width), f"<{mailbox}>"])


def _text(name: str, value: str) -> str:
    """Return a text header; text that looks like an encoded word, or that folding would change, is encoded as well."""
    width = _LINE_CHARS - len(name) - 2
    if value.isascii() and "=?" not in value and value == value.strip(" "):
        if len(value) <= width:
            return f"{name}: {value}\r\n"
        words = value.split(" ")
        if "" not in words and max(map(len, words)) <= width:
            return _folded(name, words)
    return _folded(name, _encoded_words(value, width))


def _folded(name: str, words: Iterable[str]) -> str:
    """Join words by spaces, with a fold before a word that would make the line too long."""
    lines, line = [], f"{name}:"
    for word in words:
        # The first word stays on the line of the name: a line of only white space is obsolete (RFC 5322 section 4.2).
        if len(line) + 1 + len(word) > _LINE_CHARS and len(line) > len(name) + 1:
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def _encoded_words(text: str, width: int) -> list[str]:
    """Return the text as encoded words, whole characters in each, in the shorter of Q and B (RFC 2047)."""
    octets = text.encode()
    use_q = len(octets) + 2 * len(octets.translate(None, _UNEXPANDED)) <= len(octets) * 4 / 3
    return _split(text, min(width, _ENCODED_WORD_CHARS) - len("=?utf-8?q??="), use_q=use_q)


def _split(text: str, width: int, *, use_q: bool) -> list[str]:
    encoded = _q_encoded(text.encode()) if use_q else b2a_base64(text.encode(), newline=False).decode()
    if len(encoded) <= width:
        return [f"=?utf-8?{'q' if use_q else 'b'}?{encoded}?="]
    half = len(text) // 2
    return _split(text[:half], width, use_q=use_q) + _split(text[half:], width, use_q=use_q)


def _q_encoded(octets: bytes) -> str:
    return "".join([_Q_ENCODED[octet] for octet in octets])


# -- checks


def _check(raw: bytes, headers: Mapping[str, str]) -> None:
    """Check the bytes: line endings are valid, and each intended header occurs once, and no other."""
    try:
        check_message(raw)
    except ValueError as error:
        raise MessageRefused(str(error)) from None
    head = raw[: raw.index(b"\r\n\r\n") + 2]
    found = [name.decode("ascii", "replace").lower() for name in _HEADER_NAMES.findall(head)]
    expected = [name.lower() for name in headers] + _MIME_HEADERS
    if found not in (expected, expected[:-1]) or len(set(found)) != len(found):
        raise MessageRefused("the headers are not the intended ones, each once")
