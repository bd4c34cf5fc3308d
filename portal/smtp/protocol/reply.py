"""SMTP replies: code, enhanced status code (RFC 3463) and text (RFC 5321 section 4.2); the extensions of EHLO."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_ENHANCED_OF_QMAIL = re.compile(r"#([245]\.\d{1,3}\.\d{1,3})(?!\w)")  # "sorry, no such mailbox (#5.1.1)"
# Kept of text whose length the server chooses:
_MAX_LINE_CHARS = 300  # of one line
_MAX_TEXT_CHARS = 2000  # of all lines together
_MAX_EXTENSIONS_CHARS = 1000  # of the extensions listed as evidence


def plain_text(text: str, limit: int = _MAX_LINE_CHARS) -> str:
    """Return untrusted text without control, bidirectional and private-use characters, cut to ``limit``.

    A server writes this text, and pages, logs and terminals show it.
    """
    if text.isascii() and text.isprintable():  # nearly all replies; the rest is many times slower
        return text[:limit].strip()
    spaced = "".join(" " if c in "\r\n\t" else c for c in text)
    kept = "".join(c for c in spaced if unicodedata.category(c)[0] != "C")
    return kept[:limit].strip()


@dataclass(frozen=True)
class Reply:
    """A complete reply. ``lines`` are cleaned and hold neither the code nor the enhanced status code."""

    code: int
    lines: tuple[str, ...]
    enhanced: str | None = None

    @classmethod
    def from_lines(cls, code: int, raw_lines: list[str]) -> Reply:
        """Build a reply from the raw text after each code; split off the enhanced status code."""
        lines, enhanced = [], None
        for raw in raw_lines:
            line = plain_text(raw)
            match = _ENHANCED.match(line)
            if match:
                enhanced = enhanced or match.group(0)
                line = line[match.end() :].strip()
            elif code >= 400 and enhanced is None and (match := _ENHANCED_OF_QMAIL.search(line)):
                enhanced = match.group(1)
            lines.append(line)
        return cls(code, tuple(lines), enhanced)

    @cached_property
    def text(self) -> str:
        """Return the lines joined by spaces, bounded."""
        return " ".join(line for line in self.lines if line)[:_MAX_TEXT_CHARS]

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @cached_property
    def _as_text(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    def __str__(self) -> str:
        return self._as_text


@dataclass(frozen=True)
class EhloFeatures:
    """The extensions of an EHLO reply (RFC 5321 section 4.1.1.1); empty after HELO.

    ``extensions`` maps keywords in capitals to their parameters.
    """

    extensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_reply(cls, reply: Reply) -> EhloFeatures:
        """Read an EHLO reply; its first line is the server's name and holds no extension."""
        offered: dict[str, str] = {}
        for line in reply.lines[1:]:
            # Old servers repeat the AUTH line as ``AUTH=LOGIN PLAIN`` for clients older than RFC 2554.
            old_form = line[:5].upper() == "AUTH="
            keyword, _, parameters = line.partition("=" if old_form else " ")
            offered[keyword.upper()] = f"{offered.get(keyword.upper(), '')} {parameters}".strip()
        return cls({keyword: parameters for keyword, parameters in offered.items() if keyword})

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.extensions

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Return the offered AUTH mechanisms in capitals, in the server's order."""
        return tuple(dict.fromkeys(self.extensions.get("AUTH", "").upper().split()))

    @cached_property
    def size(self) -> int | None:
        """Return the maximum message size in octets (RFC 1870); None if the server states none."""
        announced = self.extensions.get("SIZE", "")
        is_number = announced.isascii() and announced.isdigit() and len(announced) < 20
        return (int(announced) or None) if is_number else None

    def __str__(self) -> str:
        shown = ", ".join(f"{keyword} {value}".strip() for keyword, value in self.extensions.items())
        return shown[:_MAX_EXTENSIONS_CHARS]


def other_protocol(text: str) -> str | None:
    """Return the name of a protocol that is not SMTP, recognised by the start of its first line."""
    beginnings = {
        "HTTP/": "HTTP",
        "<": "HTTP",
        "* OK": "IMAP",
        "* BYE": "IMAP",
        "* PREAUTH": "IMAP",
        "+OK": "POP3",
        "-ERR": "POP3",
        "SSH-": "SSH",
        "RFB ": "VNC",
        "\x15\x03": "TLS",  # an alert record, RFC 8446 section 5.1
        "\x16\x03": "TLS",
    }
    return next((name for start, name in beginnings.items() if text.upper().startswith(start)), None)
