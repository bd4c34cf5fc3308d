"""Keeping the password out of what servers say and what is written down of it."""

from __future__ import annotations

import re

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{8,}=*")


class Scrubber:
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
