"""The transcript of one SMTP conversation: cleaned, bounded, and with secrets redacted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from .reply import plain_text

_ENTRIES = 200
_CHARACTERS = 16_000
_LINE = 500
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{8,}=*")


class TranscriptEntry(NamedTuple):
    """One line: ``C`` is what we said, ``S`` what the server said, ``*`` a note of our own."""

    direction: str
    milliseconds: int
    text: str

    def __str__(self) -> str:
        return f"{self.milliseconds:>6} ms  {self.direction}: {self.text}"


@dataclass
class Transcript:
    """The bounded record of one conversation. Callers pass ``[hidden]`` in place of a log-in's payload."""

    entries: list[TranscriptEntry] = field(default_factory=list)
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
        self.entries.append(TranscriptEntry(direction, int((monotonic() - self._started) * 1000), kept))

    def __str__(self) -> str:
        return "\n".join(map(str, self.entries))


class Redactor:
    """Takes a secret out of what a server echoes: some repeat the refused command, password and all."""

    __slots__ = ("_encoded", "_everywhere", "_plain")

    def __init__(self, plain: str, encoded: tuple[str, ...]) -> None:
        self._plain = plain
        self._everywhere = re.compile(re.escape(plain), re.IGNORECASE)
        self._encoded = tuple(text.rstrip("=").lower() for text in encoded)

    def __repr__(self) -> str:
        return "Scrubber(hidden)"

    def clean(self, text: str, *, logging_in: bool) -> str:
        """Return the text with every form of the secret hidden.

        A short password may be an ordinary word, and hiding that everywhere would punch holes into honest
        replies; it is hidden in the answers to the log-in, where echoes happen.
        """
        if len(self._plain) >= (4 if logging_in else 12):
            text = self._everywhere.sub("[hidden]", text)
        return _BASE64_RUN.sub(self._hide_if_ours, text)

    def _hide_if_ours(self, run: re.Match[str]) -> str:
        """Hide a run that is a part of what we sent, or holds it; echoes are often cut."""
        token = run.group().rstrip("=").lower()
        ours = any(token in encoded or (encoded and encoded in token) for encoded in self._encoded)
        return "[hidden]" if ours else run.group()
