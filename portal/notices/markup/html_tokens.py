"""HTML to tokens in one pass, whose work grows linearly with the text, whatever the text contains.

The rules are those of the HTML standard (section 13.2.5, tokenization), as far as they decide where a tag or a comment
ends. ``html.parser`` of the standard library is not used: its older patch releases need quadratic time for ``<a <a <a``.
Nothing here makes HTML safe; that is the work of nh3 in sanitize.py.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Where a tag or a comment begins; any other < is text. It is a group up to its end where it is like most tags, which the rest of
# this module reads as well.
_OPENING = re.compile(
    r"<(?=[A-Za-z/!?])(/?[A-Za-z][A-Za-z0-9]{0,11}+(?: [a-z]{1,12}+=\"[^\"<>]{0,200}+\"){0,4}+>)?+"
)
_NAME = re.compile(r"[A-Za-z][^ \t\n\f\r/>]*+")
# One attribute; without a name where the tag ends. ``open`` is a quotation mark that is never closed.
_ATTRIBUTE = re.compile(
    r"[ \t\n\f\r/]*+"
    r"(?:(?P<name>[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)"
    r"(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+"
    r"(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<open>[\"'])|(?P<bare>[^ \t\n\f\r>]*+)))?+)?+"
)
_COMMENT_END = re.compile("--!?>")
# Elements whose content is text up to their end tag, even if it looks like tags.
_TEXT_ELEMENTS = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "noscript")
}


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    START = auto()
    END = auto()
    COMMENT = auto()


class Token(NamedTuple):
    """A piece of HTML.

    ``value`` is the name of a tag in lower case, the source of a text with its character references, or the content
    of a comment. ``attributes`` hold the source of their values; the first of several with one name counts.
    """

    kind: Kind
    value: str
    attributes: Mapping[str, str] = {}

    @property
    def decoded_attributes(self) -> dict[str, str]:
        """The attributes with their character references replaced."""
        if not self.attributes:
            return {}
        return {name: unescape(value) if "&" in value else value for name, value in self.attributes.items()}


def read_tokens(html: str) -> Iterator[Token]:
    """Yield the tokens of ``html``. A tag that is never closed is dropped with all that follows it."""
    at, text_from = 0, 0
    while (start := _OPENING.search(html, at)) is not None:
        opening = start.start()
        common = start[1]
        token: Token | None
        if common is not None:
            token, at = _common_token(common), start.end()
        else:
            found = _read_markup(html, opening)
            if found is None:  # the character is text
                at = opening + 1
                continue
            token, at = found
        if opening > text_from:
            yield Token(Kind.TEXT, html[text_from:opening])
        if token is not None:
            yield token
        text_from = at
        end = _TEXT_ELEMENTS.get(token.value) if token is not None and token.kind is Kind.START else None
        if end is not None:
            closing = end.search(html, at)
            at = closing.start() if closing else len(html)
    if text_from < len(html):
        yield Token(Kind.TEXT, html[text_from:])


def _read_markup(html: str, at: int) -> tuple[Token | None, int] | None:
    """Return the token that begins with the ``<`` at ``at``, and where it ends; None if this is text.

    The token is None if the standard drops it: an unclosed tag, or a malformed end tag.
    """
    following = html[at + 1 : at + 2]
    if following == "!" or following == "?":
        return _read_comment(html, at)
    is_end = following == "/"
    name = _NAME.match(html, at + 1 + is_end)
    if name is None:
        return _read_comment(html, at, is_end_tag=True) if is_end and at + 2 < len(html) else None
    attributes, end = _read_attributes(html, name.end())
    if end == -1:
        return None, len(html)
    return Token(Kind.END if is_end else Kind.START, name.group().lower(), attributes), end


@lru_cache(maxsize=256)  # a text repeats few tags
def _common_token(tag: str) -> Token:
    """Return the token of a tag, which is given without its ``<``."""
    is_end = tag[0] == "/"
    name = re.split("[ >]", tag[is_end:], maxsplit=1)[0]
    attributes, _end = _read_attributes(tag, is_end + len(name))
    return Token(Kind.END if is_end else Kind.START, name.lower(), attributes)


def _read_attributes(html: str, at: int) -> tuple[dict[str, str], int]:
    """Return the attributes of a tag and the index after its ``>``, which is -1 if there is none."""
    attributes: dict[str, str] = {}
    while True:
        found = _ATTRIBUTE.match(html, at)
        if found is None or found["open"]:
            return attributes, -1
        at, name = found.end(), found["name"]
        if name is None:
            return attributes, at + 1 if at < len(html) else -1
        attributes.setdefault(name.lower(), found["double"] or found["single"] or found["bare"] or "")


def _read_comment(html: str, at: int, *, is_end_tag: bool = False) -> tuple[Token | None, int]:
    """Return a comment; ``<!doctype>``, ``<?xml>`` and ``</ p>`` are comments up to their ``>``."""
    if html.startswith("<!--", at):
        start = at + 4
        if html.startswith((">", "->"), start):
            return Token(Kind.COMMENT, ""), html.index(">", start) + 1
        found = _COMMENT_END.search(html, start)
        end, after = (found.start(), found.end()) if found else (len(html), len(html))
        return Token(Kind.COMMENT, html[start:end]), after
    end = html.find(">", at)
    after = len(html) if end == -1 else end + 1
    is_declaration = is_end_tag or html[at + 2 : at + 9].lower() == "doctype"
    return None if is_declaration else Token(Kind.COMMENT, html[at + 2 : max(end, at + 2)]), after
