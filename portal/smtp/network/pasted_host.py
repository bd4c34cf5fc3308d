"""Takes a pasted server apart: ``https://smtp.example.com:587/`` or ``Host: smtp.example.com`` into host and port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

_MAX_CHARS = 300  # of a text that is taken apart; a host name has at most 253
_WORD = r"[^\W\d][^\W\d()-]*"  # letters and underscores
# "Outgoing mail (SMTP) server:" or "MAIL_HOST=" in any language, before a text that is more than a port.
_LABEL = re.compile(rf"[(-]*{_WORD}(?:[ \t()-]+{_WORD}){{0,5}}\)?\s*[:=]\s*(?![:/]|[0-9]+\b(?!\.))")
# The same without a colon, as tables are copied; only before a name with a dot.
_LABEL_IN_TABLE = re.compile(rf"[(-]*{_WORD}(?:[ \t()-]+{_WORD}){{0,5}}\)?\s+(?=[^\W_][\w-]*\.[^\W_])")
_SCHEME = re.compile(r"(?:[a-z][a-z0-9+-]{1,15}:/|/)/?", re.IGNORECASE)
_TAIL = re.compile(
    r"[\s,;]*\(?(?:ports?\b)?\s*[:=]?\s*([0-9]{1,5})?[\s,;(]*(?:start)?(?:tls|ssl)?\)?", re.IGNORECASE
)
_QUOTES = "\"'`<>“”‘’,;{}()"
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_FULL_WIDTH = {ord("："): ":", ord("，"): ",", ord("；"): ";", ord("＝"): "="}


@dataclass(frozen=True)
class PastedHost:
    """The parts of a pasted text. ``port`` is None if it names none."""

    host: str
    port: int | None


def take_apart(text: str) -> PastedHost | None:
    """Return host and port of a text that holds more than a host name; None if there is nothing to take apart.

    The host is not validated here. A text with an @ is left alone, because it may hold a password.
    """
    entered = text.strip()
    if not entered or len(entered) > _MAX_CHARS or "@" in entered or _is_ipv6(entered):
        return None
    rest = entered.translate(_INVISIBLE | _FULL_WIDTH).strip(_QUOTES).strip()
    label = _LABEL.match(rest) or _LABEL_IN_TABLE.match(rest)
    if label:
        rest = rest[label.end() :].strip(_QUOTES)
    scheme = _SCHEME.match(rest)
    rest = rest[scheme.end() :] if scheme else rest
    rest = re.split(r"[/?#]", rest, maxsplit=1)[0].strip().strip(_QUOTES)
    host, port = _split_port(rest)
    if not host or host == entered:
        return None
    return PastedHost(host, port)


def _split_port(text: str) -> tuple[str, int | None]:
    end = text.find("]") + 1 if text.startswith("[") else 0
    at = re.compile(r"[:;\s,(]").search(text, end)
    if at is None or _is_ipv6(text):
        return text, None
    tail = _TAIL.fullmatch(text, at.start())
    if tail is None:
        return text, None
    port = int(tail[1]) if tail[1] else None
    return (text[: at.start()], port) if port is None or 0 < port < 65536 else (text, None)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text.removeprefix("[").removesuffix("]"))
    except AddressValueError:
        return False
    return True
