"""What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .reply import Reply

_SHOWN = 1000  # characters of the offer that go into evidence; the server chooses its length


@dataclass(frozen=True)
class Features:
    """Offered extensions by keyword in capitals, with their parameters; empty after a mere HELO."""

    extensions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reply: Reply) -> Features:
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
