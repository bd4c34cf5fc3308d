"""The transcript of a conversation, bounded and with secrets redacted, so that it can be stored and shown."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from .reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_ENTRIES = 200
_MAX_CHARS = 16_000
_MAX_LINE_CHARS = 500
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{8,}=*")
_MIN_SECRET_CHARS = 12  # shorter ones may be ordinary words
_MIN_SECRET_CHARS_AT_LOGIN = 4
_MIN_SPREAD_CHARS = 8  # fewer could occur by chance across the ends of words
_ECHO_CHARSETS = ("utf-8", "latin-1", "cp1252", "cp1250", "cp1251", "koi8-r", "gb18030", "cp932")
_NO_LETTER_OR_DIGIT = re.compile(r"[\W_]+")


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
        """Append one cleaned line. The entry that reaches the bound states it and is the last."""
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

    __slots__ = ("_encoded", "_octets", "_pattern", "_secret", "_spread")

    def __init__(self, secret: str, encoded: tuple[str, ...]) -> None:
        self._secret = secret
        self._pattern = re.compile(re.escape(secret), re.IGNORECASE)
        octets = secret.encode("utf-8", "surrogatepass")
        codes = (octets.hex(), octets[::-1].hex())
        self._encoded = tuple(text.rstrip("=").lower() for text in (*encoded, *codes))
        spread = (
            secret,
            secret[::-1],
            *self._encoded,
            *("".join(template % octet for octet in octets) for template in ("%d", "x%02x", "0x%02x")),
        )
        bare = (_letters_and_digits(form) for form in spread if _is_long(_letters_and_digits(secret)))
        self._spread = tuple(form for form in bare if _is_long(form))
        self._octets = () if secret.isascii() else tuple(_octets_of(secret))

    def __repr__(self) -> str:
        return "Redactor(hidden)"

    def redact(self, text: str, *, logging_in: bool) -> str:
        """Return the text with every form of the secret replaced by "[hidden]".

        A short password may be an ordinary word, and replacing that everywhere would damage replies that do
        not hold the secret. It is replaced in the replies to the log-in only, where echoes occur.
        """
        replaceable = len(self._secret) >= (_MIN_SECRET_CHARS_AT_LOGIN if logging_in else _MIN_SECRET_CHARS)
        if replaceable:
            text = self._pattern.sub("[hidden]", text)
        text = _BASE64_RUN.sub(self._replace_encoded, text)
        return self._replace_spread(text) if replaceable else text

    def redact_octets(self, raw: bytes) -> bytes:
        """Return a line whose charset is not known yet without the secret, which its wrong decoding would disguise."""
        for form in self._octets:
            raw = raw.replace(form, b"[hidden]")
        return raw

    def _replace_spread(self, text: str) -> str:
        """Replace the secret where it is written backwards, as codes of its octets, or with signs in between."""
        bare = _letters_and_digits(text)
        if not any(form in bare for form in self._spread):
            return text
        places = [index for index, c in enumerate(text) for _ in _letters_and_digits(c)]
        hidden = sorted(
            (places[start], places[start + len(form) - 1] + 1)
            for form in self._spread
            for start in _find_all(bare, form)
        )
        parts: list[str] = []
        at = 0
        for start, end in hidden:
            if start >= at:
                parts += (text[at:start], "[hidden]")
            at = max(at, end)
        return "".join((*parts, text[at:]))

    def _replace_encoded(self, run: re.Match[str]) -> str:
        """Replace a Base64 run that contains an encoded form or is a part of one; echoes are often cut."""
        token = run.group().rstrip("=").lower()
        is_secret = any(token in encoded or (encoded and encoded in token) for encoded in self._encoded)
        return "[hidden]" if is_secret or self._encodes_secret(run.group()) else run.group()

    def _encodes_secret(self, run: str) -> bool:
        """Return whether a Base64 run encodes a text that holds the secret, such as the JSON of a refused token."""
        if len(self._secret) < _MIN_SECRET_CHARS:
            return False
        try:
            decoded = base64.b64decode(run[: len(run) // 4 * 4])
        except ValueError:
            return False
        return self._secret.encode("utf-8", "surrogatepass") in decoded


def _octets_of(secret: str) -> Iterator[bytes]:
    """Yield a secret with letters beyond ASCII in the charsets in which a server may send it back."""
    for charset in _ECHO_CHARSETS:
        with suppress(UnicodeEncodeError):
            yield secret.encode(charset)


def _letters_and_digits(text: str) -> str:
    return _NO_LETTER_OR_DIGIT.sub("", text.lower())


def _is_long(form: str) -> bool:
    return len(form) >= _MIN_SPREAD_CHARS


def _find_all(text: str, form: str) -> Iterator[int]:
    """Yield where ``form`` occurs, without overlaps."""
    at = text.find(form)
    while at != -1:
        yield at
        at = text.find(form, at + len(form))
