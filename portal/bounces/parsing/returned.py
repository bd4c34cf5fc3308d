"""The message that a report returns: where it begins in a text, its headers, and what identifies it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .addresses import addresses_in
from .mime import Headers, read_headers, split_head

if TYPE_CHECKING:
    from .mime import Mail, Part

RETURNED_TYPES = frozenset({
    "message/rfc822", "message/global", "message/partial", "message/rfc822-headers", "message/global-headers",
    "text/rfc822-headers", "text/rfc822-header", "text/rfc822",
})  # fmt: skip
REFERENCE = "x-signet-ref"
_HEADER_LINE = re.compile(r"[>| \t]{0,20}([A-Za-z][A-Za-z0-9-]{1,60})[ \t]?:(?!//)")
# Fields that only the headers of a message begin with.
_FIRST_FIELDS = frozenset({
    "received", "return-path", "x-received", "dkim-signature", "domainkey-signature", "arc-seal", "x-envelope-from",
    "x-originating-ip", "x-google-smtp-source", "x-google-dkim-signature", "authentication-results", "received-spf",
    "x-gm-message-state", "arc-message-signature",
})  # fmt: skip
_MARK = re.compile(
    r"\b(?:below this line is a copy|this is a copy of (?:the|your) message|copy of (?:the|your)(?: original)? message|"
    r"headers? of (?:the|your) (?:original )?message|original (?:message|mail)(?: headers?|"
    r" text)?(?: is)?(?: as)? ?(?:follow|below|header|$)|"
    r"message headers? follow|copy of the message header|returned message|unsent message|undelivered message|"
    r"here is your returned mail|begin(?:ning)? of (?:the )?(?:original|returned)|message (?:text|contents?) follow|"
    r"original message\b|returned mail follows|first \d+ lines of|ursprungliche nachricht|kopie der nachricht|"
    r"kopfzeilen der|message d.origine|mensaje original|messaggio originale|mensagem original|oorspronkelijk bericht|"
    r"исходное сообщение|копия сообщения)|元のメッセージ|オリジナル|原邮件|原始邮件",
    re.IGNORECASE,
)
_MAX_MARK_CHARS = 90
_MAX_LINES = 4000
_MESSAGE_ID = re.compile(r"<?([^\s<>]{1,200}@[^\s<>]{1,200})>?")
_ID_LINE = re.compile(
    r"(?im)^[>| \t]{0,20}message-id[ \t]?:[ \t]{0,40}(?:\n[ \t]{0,40})?<?([^\s<>]{3,300})>?"
)


@dataclass(frozen=True)
class Returned:
    """The headers of the returned message; without fields, if none was returned."""

    headers: Headers = field(default_factory=Headers)

    @property
    def message_id(self) -> str:
        """The Message-ID without brackets, or ""."""
        found = _MESSAGE_ID.search(self.headers.get("message-id"))
        return found[1] if found else self.headers.get("message-id").strip("<> ")[:300]

    @property
    def reference(self) -> str:
        return self.headers.get(REFERENCE).strip()[:100]

    @property
    def recipients(self) -> list[str]:
        return addresses_in(" ".join(self.headers.all("to")) or " ".join(self.headers.all("cc")))

    @property
    def senders(self) -> list[str]:
        names = ("from", "return-path", "sender", "reply-to", "errors-to", "x-sender", "x-envelope-from")
        return addresses_in(" ".join(value for name in names for value in self.headers.all(name)))


def returned_part(mail: Mail) -> Part | None:
    """Return the part that holds the returned message, if there is one."""
    return next((part for part in mail.parts if part.type in RETURNED_TYPES), None)


def returned_of(part: Part) -> Returned:
    """Return the returned message of its part."""
    headers, _body = split_head(part.content().replace(b"\r\n", b"\n").lstrip(b"\n"))
    return Returned(headers)


def split_text(text: str) -> tuple[list[str], list[str]]:
    """Return the lines of a report before, and those of, the message that it returns in its text."""
    lines = text.split("\n")[:_MAX_LINES]
    for index, line in enumerate(lines):
        if _is_mark(line) and _headers_follow(lines, index + 1):
            return lines[:index], lines[index + 1 :]
        found = _HEADER_LINE.match(line)
        if found and found[1].lower() in _FIRST_FIELDS and _headers_follow(lines, index + 1, at_once=True):
            return lines[:index], lines[index:]
    return lines, []


def _is_mark(line: str) -> bool:
    return len(line) <= _MAX_MARK_CHARS and bool(_MARK.search(line.translate(_PLAIN)))


_PLAIN = str.maketrans({"ü": "u", "ä": "a", "ö": "o"})


def _headers_follow(lines: list[str], start: int, *, at_once: bool = False) -> bool:
    """Return whether the next line with letters is a header field, or nothing follows."""
    for line in lines[start : start + 8]:
        if at_once and line[:1] in {" ", "\t"} and line.strip():
            return True
        if _HEADER_LINE.match(line) or line.startswith("From "):
            return True
        if any(letter.isalnum() for letter in line):
            return False
        if at_once and not line.strip():
            return True
    return True


def returned_in_text(lines: list[str]) -> Returned:
    """Return the returned message of a text, without quotation marks and indentation."""
    start = next((index for index, line in enumerate(lines) if _HEADER_LINE.match(line)), None)
    if start is None:
        return Returned()
    first = lines[start]
    indent = first[: len(first) - len(first.lstrip("> |\t"))]
    block = []
    for line in lines[start:]:
        bare = line.removeprefix(indent) if indent else line
        if not bare.strip():
            break
        block.append(bare)
    return Returned(read_headers("\n".join(block).encode("utf-8", "replace")))


def message_id_in(text: str) -> str:
    """Return the first Message-ID that a text names in a line of its own, or ""."""
    found = _ID_LINE.search(text)
    return found[1] if found else ""
