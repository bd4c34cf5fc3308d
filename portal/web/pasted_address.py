"""Reads an email address as people paste it: from an address book, a link, or the end of a sentence."""

from __future__ import annotations

import re
from urllib.parse import unquote

_MAX_CHARS = 1000  # a longer text is left as it is
_IN_BRACKETS = re.compile(r"[^<>]*<([^<>]*)>[\s.,;]*")  # Ada <ada@shop.example>
_LINK = re.compile(r"mailto:(?://)?([^?]*)(?:\?.*)?", re.IGNORECASE | re.DOTALL)  # RFC 6068
_MARKDOWN = re.compile(
    r"\[[^\[\]]*\]\((mailto:[^()\s]*)\)", re.IGNORECASE
)  # [ada@shop.example](mailto:ada@shop.example)
_LABEL = re.compile(r"(?!mailto:)[^@:<>,;\"]{1,40}:\s+(?=\S)", re.IGNORECASE)  # Email: ada@shop.example
_SHORT_LABEL = re.compile(r"(?:e-?mail|mail|to|smtp):", re.IGNORECASE)  # email:ada@shop.example
_TWICE = re.compile(
    r"[\"'“]?([^\s<>@\"'“”]++@[^\s<>@\"'“”]++)[\"'”]?\s*+<\s*+(?:mailto:)?\1>[\s.,;]*", re.IGNORECASE
)
_NAMED = re.compile(
    r"[^@(\[\])]{1,80}\s[(\[]\s*+([^\s()\[\]@]++@[^\s()\[\]@]++)\s*+[)\]]"
)  # Ada (ada@shop.example)
_BULLET = re.compile(r"[-•*·–]\s+")
_COMMENT = re.compile(
    r"([^\s()@]++@[^\s()]++)\s*+\([^()@]*\)"
)  # ada@shop.example (Ada); RFC 5322 section 3.2.2
_AROUND_AT = re.compile(r"[ \u00a0\u3000]*[@＠][ \u00a0\u3000]*")
_INVISIBLE_ENDS = "\u200b\u200e\u200f\u2060\ufeff"  # that copying adds; in the middle they are refused
_ENDS = " \t\r\n\u00a0\u3000.,;:!?…" + _INVISIBLE_ENDS
_PAIRS = {
    "(": ")",
    "[": "]",
    '"': '"',
    "'": "'",
    "“": "”",
    "„": "“",
    "‘": "’",
    "«": "»",
    "‹": "›",
    "<": ">",
    "`": "`",
    "*": "*",
}
_OPEN_QUOTES = "'\"“„‘"


def unwrap_address(value: str | None) -> str | None:
    """Return the one address in a pasted text, without what is around it. Any other text is returned stripped.

    A name before the address is dropped, and so are brackets, quotes, a label, ``mailto:``, and the dot of a sentence. The
    text is unwrapped only if it holds one @, so nothing is guessed; whether the result is an address is validated afterwards.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if len(text) <= _MAX_CHARS:
        text = _decoded(text)
        twice = _TWICE.fullmatch(text)  # as mail programs copy an address without a name
        text = twice[1] if twice else text
    if len(text) > _MAX_CHARS or text.count("@") + text.count("＠") != 1:
        return text
    inner = _BULLET.sub("", text, count=1) if _BULLET.match(text) else text
    label = _LABEL.match(inner) or _SHORT_LABEL.match(inner)
    inner = inner[label.end() :] if label else inner
    named = _NAMED.fullmatch(inner)
    inner = named[1] if named else inner
    found = _IN_BRACKETS.fullmatch(inner)
    inner = found[1] if found else inner.strip("<> ")
    commented = _COMMENT.fullmatch(inner)
    inner = _without_ends(commented[1] if commented else inner)
    link = _LINK.fullmatch(inner)
    if link:
        inner = _without_ends(unquote(link[1]))
    unwrapped = _AROUND_AT.sub("@", inner)
    return unwrapped if unwrapped.count("@") == 1 and not unwrapped.startswith("@") else text


def _decoded(text: str) -> str:
    """Return a text that was copied from the source of a page or of Markdown as it is read there."""
    markdown = _MARKDOWN.fullmatch(text)
    if markdown:
        text = markdown[1]
    if "&lt;" in text and text.endswith("&gt;"):
        text = text.replace("&lt;", "<").replace("&gt;", ">")
    return text.replace("%40", "@") if _LINK.fullmatch(text) and "@" not in text else text


def _without_ends(text: str) -> str:
    """Return a text without surrounding spaces, closing punctuation, and pairs of quotes or brackets."""
    text = text.strip(_INVISIBLE_ENDS + " \t\r\n\u00a0\u3000").rstrip(_ENDS)
    while len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        text = text[1:-1].strip(_ENDS)
    quotes = text[:1] in _OPEN_QUOTES and text.count(text[:1]) == 1  # one that was copied without the other
    return text[1:] if text and quotes else text
