"""SMTP replies: code, enhanced status code and text (RFC 5321 section 4.2, RFC 3463), and EHLO extensions."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_TEXT_LIMIT = 300  # characters kept of a line; the server chooses them, so they are bounded
_SHOWN = 1000  # characters of the offer that go into evidence; the server chooses its length
_WHOLE_LIMIT = 2000  # characters kept of all lines together


def plain_text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return foreign text without control, bidirectional or private characters, cut to ``limit``.

    A server writes this text, and it ends in pages, logs and terminals.
    """
    if text.isascii() and text.isprintable():  # nearly all replies, and by far the shortest way
        return text[:limit].strip()
    spaced = "".join(" " if c in "\r\n\t" else c for c in text)
    kept = "".join(c for c in spaced if unicodedata.category(c)[0] != "C")
    return kept[:limit].strip()


@dataclass(frozen=True)
class Reply:
    """A complete reply. ``lines`` are cleaned and hold no code."""

    code: int
    lines: tuple[str, ...]
    enhanced: str | None = None

    @classmethod
    def of(cls, code: int, raw_lines: list[str]) -> Reply:
        """Build a reply from the raw text after each code, splitting off the enhanced status code."""
        lines, enhanced = [], None
        for raw in raw_lines:
            line = plain_text(raw)
            found = _ENHANCED.match(line)
            if found:
                enhanced = enhanced or found.group(0)
                line = line[found.end() :].strip()
            lines.append(line)
        return cls(code, tuple(lines), enhanced)

    @cached_property
    def text(self) -> str:
        """Return the lines as one, bounded like each of them."""
        return " ".join(line for line in self.lines if line)[:_WHOLE_LIMIT]

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
    def _whole(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    def __str__(self) -> str:
        return self._whole


@dataclass(frozen=True)
class EhloFeatures:
    """Offered extensions by keyword in capitals, with their parameters; empty after a mere HELO."""

    extensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reply: Reply) -> EhloFeatures:
        """Read an EHLO reply; its first line is the server's name and offers nothing."""
        offered: dict[str, str] = {}
        for line in reply.lines[1:]:
            # Old servers repeat their offer as ``AUTH=LOGIN PLAIN`` for clients older than RFC 2554.
            old_form = line[:5].upper() == "AUTH="
            keyword, _, parameters = line.partition("=" if old_form else " ")
            offered[keyword.upper()] = f"{offered.get(keyword.upper(), '')} {parameters}".strip()
        return cls({keyword: parameters for keyword, parameters in offered.items() if keyword})

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.extensions

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Return the offered log-in mechanisms in capitals, in the server's order."""
        return tuple(dict.fromkeys(self.extensions.get("AUTH", "").upper().split()))

    @property
    def size(self) -> int | None:
        """Return the largest message in octets, or None where the server names none (RFC 1870)."""
        announced = self.extensions.get("SIZE", "")
        is_number = announced.isascii() and announced.isdigit() and len(announced) < 20
        return (int(announced) or None) if is_number else None

    def __str__(self) -> str:
        shown = ", ".join(f"{keyword} {words}".strip() for keyword, words in self.extensions.items())
        return shown[:_SHOWN]
