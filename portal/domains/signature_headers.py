"""DKIM-Signature headers (RFC 6376, section 3.5) in the pasted headers of an email: which selectors signed for a domain."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = "dkim-signature"
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


@dataclass(frozen=True)
class Signature:
    """Who signed: ``selector`` and ``domain`` are the tags s= and d=, in lower case."""

    selector: str
    domain: str


def holds_signature(text: str) -> bool:
    """Return whether a text is, or holds, a DKIM-Signature header rather than a selector."""
    return f"{_HEADER}:" in text.lower() or bool(_tags(text).keys() & {"d", "s"})


def find_signatures(text: str) -> list[Signature]:
    """Return the signatures in headers, or in the value of one header, that name a selector and a domain."""
    values = _header_values(text) if f"{_HEADER}:" in text.lower() else [text]
    found = [_tags(value) for value in values]
    signatures = [Signature(tags["s"], tags["d"]) for tags in found if tags.get("s") and tags.get("d")]
    return list(dict.fromkeys(signatures))


def _header_values(text: str) -> list[str]:
    """Return the values of all DKIM-Signature headers, with their continuation lines."""
    values: list[list[str]] = []
    current: list[str] | None = None
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        if colon and _HEADER_NAME.fullmatch(name):
            current = [rest] if name.lower() == _HEADER else None
            if current is not None:
                values.append(current)
        elif current is not None:
            current.append(line)
    return ["\n".join(lines) for lines in values]


def _tags(value: str) -> dict[str, str]:
    """Return the tags of a signature without white space in names and values; the first of several counts."""
    tags: dict[str, str] = {}
    for part in value.split(";"):
        name, equals, text = part.partition("=")
        if equals:
            tags.setdefault("".join(name.split()).lower(), "".join(text.split()).lower().rstrip("."))
    return tags
