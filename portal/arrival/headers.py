"""Header fields of a received email (RFC 5322), as a person pastes them from the source view of a mail program.

Reads a bounded text in linear time and raises nothing. Pasted text is what a person pasted: nothing in it is proof against
that person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHARS = 100_000  # headers of an email have 5,000 to 30,000
_MAX_VALUE_CHARS = 20_000
_MAX_ADDRESS_CHARS = 1_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_DKIM_SIGNATURE = "dkim-signature"


@dataclass(frozen=True)
class Field:
    """One header field: its name in lower case, and its unfolded value."""

    name: str
    value: str


@dataclass(frozen=True)
class Signature:
    """Who signed: ``selector`` and ``domain`` are the tags s= and d= of a DKIM-Signature (RFC 6376), in lower case."""

    selector: str
    domain: str


@dataclass(frozen=True)
class PastedHeaders:
    """The fields of one header section, the newest trace first, as in the message."""

    fields: tuple[Field, ...]

    def first(self, name: str) -> str:
        """Return the value of the first field of this name, or an empty string."""
        return next((one.value for one in self.fields if one.name == name), "")

    def all(self, name: str) -> list[str]:
        """Return the values of all fields of this name."""
        return [one.value for one in self.fields if one.name == name]

    def before_received(self) -> PastedHeaders:
        """Return the fields above the first Received field that names another server, and above From."""
        for index, one in enumerate(self.fields):
            if one.name == "from" or (one.name == "received" and one.value.lower().startswith("from ")):
                return PastedHeaders(self.fields[:index])
        return self

    @cached_property
    def message_ids(self) -> list[str]:
        """The identifiers that can name the message: its Message-ID, and those that relays keep of an earlier one."""
        names = ("message-id", "x-google-original-message-id", "x-microsoft-original-message-id")
        found = [first_word(value) for name in names for value in self.all(name)]
        return [one for one in found if one]


def parse(text: str) -> PastedHeaders:
    """Return the header section of a pasted text: the first block of lines with a Message-ID, else the first one.

    Mail programs put a summary above the source, and a message has its text below the headers.
    """
    blocks = _blocks("".join(char for char in text[:MAX_CHARS] if char.isprintable() or char in "\r\n\t"))
    parsed = [PastedHeaders(tuple(_fields(block))) for block in blocks]
    chosen = next((one for one in parsed if one.first("message-id")), None)
    return chosen or next((one for one in parsed if one.fields), PastedHeaders(()))


def mailbox(value: str) -> str:
    """Return the mailbox of a From, Reply-To or Return-Path field, in lower case; empty if there is none."""
    text = value[:_MAX_ADDRESS_CHARS]
    start, end = text.rfind("<"), text.rfind(">")
    inner = text[start + 1 : end] if 0 <= start < end else text
    word = first_word(inner.strip().rstrip(","))
    return word.lower() if word.count("@") == 1 and not word.startswith("@") else ""


def first_word(value: str) -> str:
    """Return a value up to its first white space."""
    words = value.split(None, 1)
    return words[0] if words else ""


def without_comments(value: str) -> Iterator[tuple[str, bool]]:
    """Yield each character outside comments, which nest (RFC 5322 section 3.2.2), and whether it is quoted."""
    depth, is_quoted, is_escaped = 0, False, False
    for char in value:
        if is_escaped:
            is_escaped = False
        elif char == "\\" and (is_quoted or depth):
            is_escaped = True
            continue
        elif char == '"' and not depth:
            is_quoted = not is_quoted
        elif char in "()" and not is_quoted:
            depth = depth + 1 if char == "(" else max(0, depth - 1)
            char = " "
        if not depth:
            yield char, is_quoted


def _blocks(text: str) -> list[list[str]]:
    """Return the lines between empty lines, at most ten blocks."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
        if len(blocks) > 10:
            break
    return blocks


def _fields(lines: list[str]) -> list[Field]:
    """Return the fields of a block. A line without a field name continues the field before it, indented or not."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        name, colon, rest = line.partition(":")
        if colon and _NAME.fullmatch(name):
            found.append((name.lower(), [rest]))
        elif found:
            found[-1][1].append(line)
    return [Field(name, " ".join(" ".join(parts).split())[:_MAX_VALUE_CHARS]) for name, parts in found]


# -- DKIM signatures


def holds_signature(text: str) -> bool:
    """Return whether a text is, or holds, a DKIM-Signature header rather than a selector."""
    return f"{_DKIM_SIGNATURE}:" in text.lower() or bool(_tags(text).keys() & {"d", "s"})


def find_signatures(text: str) -> list[Signature]:
    """Return the signatures in headers, or in the value of one header, that name a selector and a domain."""
    values = [text]
    if f"{_DKIM_SIGNATURE}:" in text.lower():
        fields = [one for block in _blocks(text[:MAX_CHARS]) for one in _fields(block)]
        values = [one.value for one in fields if one.name == _DKIM_SIGNATURE]
    found = [_tags(value) for value in values]
    signatures = [Signature(tags["s"], tags["d"]) for tags in found if tags.get("s") and tags.get("d")]
    return list(dict.fromkeys(signatures))


def _tags(value: str) -> dict[str, str]:
    """Return the tags of a signature without white space in names and values; the first of several counts."""
    tags: dict[str, str] = {}
    for part in value.split(";"):
        name, equals, text = part.partition("=")
        if equals:
            tags.setdefault("".join(name.split()).lower(), "".join(text.split()).lower().rstrip("."))
    return tags
