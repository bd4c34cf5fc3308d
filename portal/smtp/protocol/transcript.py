"""What was said, fit to be stored and shown: cleaned, bounded, and never having held a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from .reply import plain_text

_ENTRIES = 200
_CHARACTERS = 16_000
_LINE = 500


class Entry(NamedTuple):
    """One line: ``C`` is what we said, ``S`` what the server said, ``*`` a note of our own."""

    direction: str
    milliseconds: int
    text: str

    def __str__(self) -> str:
        return f"{self.milliseconds:>6} ms  {self.direction}: {self.text}"


@dataclass
class Transcript:
    """The bounded record of one conversation. Callers pass ``[hidden]`` in place of a log-in's payload."""

    entries: list[Entry] = field(default_factory=list)
    _started: float = field(default_factory=monotonic, repr=False)
    _left: int = field(default=_CHARACTERS, repr=False)

    def add(self, direction: str, text: str) -> None:
        """Append one line, cleaned; once the bound is reached the last entry says so and nothing follows."""
        if self._left <= 0:
            return
        kept = plain_text(text, _LINE)
        self._left -= len(kept) + 1
        if len(self.entries) >= _ENTRIES - 1 or self._left <= 0:
            self._left = 0
            direction, kept = "*", "[the rest is not recorded]"
        self.entries.append(Entry(direction, int((monotonic() - self._started) * 1000), kept))

    def __str__(self) -> str:
        return "\n".join(map(str, self.entries))
