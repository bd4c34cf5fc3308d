"""Takes a pasted server apart: ``https://smtp.example.com:587/`` or ``Host: smtp.example.com`` into host and port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

_MAX_CHARS = 300  # of a text that is taken apart; a host name has at most 253
_LABEL = re.compile(
    r"(?:(?:outgoing|smtp|mail)[ -]){0,2}(?:host|hostname|server|smtp)(?: (?:name|address))?\s?[:=]\s?(?!//)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,15}://", re.IGNORECASE)
_PORT = re.compile(r"(?:\s?:|,?\s(?:port)?\s?[:=]?)\s?([0-9]{1,5})", re.IGNORECASE)
_QUOTES = "\"'`<>“”‘’,;"


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
    rest = _LABEL.sub("", entered.strip(_QUOTES).strip(), count=1).strip(_QUOTES)
    rest = _SCHEME.sub("", rest, count=1)
    rest = re.split(r"[/?#]", rest, maxsplit=1)[0].strip().strip(_QUOTES)
    host, port = _split_port(rest)
    if not host or host == entered:
        return None
    return PastedHost(host, port)


def _split_port(text: str) -> tuple[str, int | None]:
    end = text.find("]") + 1 if text.startswith("[") else 0
    at = re.compile(r"[:\s,]").search(text, end)
    if at is None or _is_ipv6(text):
        return text, None
    match = _PORT.fullmatch(text, at.start())
    number = int(match[1]) if match else 0
    return (text[: at.start()], number) if 0 < number < 65536 else (text, None)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text.removeprefix("[").removesuffix("]"))
    except AddressValueError:
        return False
    return True
