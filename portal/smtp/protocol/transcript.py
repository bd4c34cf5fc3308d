"""The transcript of a conversation, bounded and with secrets redacted, so that it can be stored and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from .reply import plain_text

_MAX_ENTRIES = 200
_MAX_CHARS = 16_000
_MAX_LINE_CHARS = 500
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{8,}=*")
_MIN_SECRET_CHARS = 12  # shorter ones may be ordinary words
_MIN_SECRET_CHARS_AT_LOGIN = 4


class TranscriptEntry(NamedTuple):
    """One line. ``direction`` is C for a command, S for a reply, * for a remark of the portal."""

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
    _chars_left: int = field(default=_MAX_CHARS, repr=False)

    def add(self, direction: str, text: str) -> None:
        """Append one cleaned line. The entry that reaches the bound says so and is the last."""
        if self._chars_left <= 0:
            return
        kept = plain_text(text, _MAX_LINE_CHARS)
        self._chars_left -= len(kept) + 1
        if len(self.entries) >= _MAX_ENTRIES - 1 or self._chars_left <= 0:
            self._chars_left = 0
            direction, kept = "*", "[the rest is not recorded]"
        self.entries.append(TranscriptEntry(direction, int((monotonic() - self._started) * 1000), kept))

    def __str__(self) -> str:
        return "\n".join(map(str, self.entries))


class Redactor:
    """Replaces a secret in the text of a server; some servers echo the refused command with the password.

    Args:
        secret: the password as it was entered.
        encoded: its encoded forms as they were sent.
    """

    __slots__ = ("_encoded", "_pattern", "_secret")

    def __init__(self, secret: str, encoded: tuple[str, ...]) -> None:
        self._secret = secret
        self._pattern = re.compile(re.escape(secret), re.IGNORECASE)
        self._encoded = tuple(text.rstrip("=").lower() for text in encoded)

    def __repr__(self) -> str:
        return "Redactor(hidden)"

    def redact(self, text: str, *, logging_in: bool) -> str:
        """Return the text with every form of the secret replaced by "[hidden]".

        A short password may be an ordinary word, and replacing that everywhere would damage replies that do
        not hold the secret. It is replaced in the replies to the log-in only, where echoes occur.
        """
        if len(self._secret) >= (_MIN_SECRET_CHARS_AT_LOGIN if logging_in else _MIN_SECRET_CHARS):
            text = self._pattern.sub("[hidden]", text)
        return _BASE64_RUN.sub(self._replace_encoded, text)

    def _replace_encoded(self, run: re.Match[str]) -> str:
        """Replace a Base64 run that contains an encoded form or is a part of one; echoes are often cut."""
        token = run.group().rstrip("=").lower()
        is_secret = any(token in encoded or (encoded and encoded in token) for encoded in self._encoded)
        return "[hidden]" if is_secret else run.group()
