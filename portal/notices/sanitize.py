"""Sanitising of the HTML of texts: an allowlist of elements, attributes and styles, enforced by nh3.

A text is sanitised twice: its source when it is saved, and each email after the values were inserted.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser

import nh3

from .liquid import TOKEN

_TAGS = {
    "h1", "h2", "h3", "p", "br", "hr", "a", "strong", "b", "em", "i", "u", "s", "small", "sub", "sup", "span", "div",
    "ul", "ol", "li", "blockquote", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "img",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"class", "style", "dir", "lang"},
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "align", "valign", "width"},
    "th": {"colspan", "rowspan", "align", "valign", "width"},
    "table": {"width", "align"},
}
_STYLES = {
    "background-color", "border", "border-bottom", "border-left", "border-radius", "border-right", "border-top",
    "color", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing", "line-height",
    "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "max-width", "padding", "padding-bottom",
    "padding-left", "padding-right", "padding-top", "text-align", "text-decoration", "text-transform",
    "vertical-align", "width",
}  # fmt: skip
_DROPPED_WITH_CONTENT = {
    "script",
    "style",
    "title",
    "noscript",
    "template",
    "svg",
    "math",
    "iframe",
    "object",
}
_SCHEMES = {"http", "https", "mailto"}
_URL = re.compile(r"(?i)(?:https?://[^\s/]|mailto:[^\s@]+@)")


@dataclass(frozen=True)
class SanitizedHtml:
    """Sanitised HTML. Jinja inserts it into a template without escaping."""

    html: str

    def __html__(self) -> str:
        return self.html


def sanitize(html: str) -> SanitizedHtml:
    """Remove all that is not allowed in an email. The result is balanced HTML without comments."""
    return SanitizedHtml(_clean(html))


def _clean(html: str, marker: str = "") -> str:
    """Run nh3. A ``marker`` begins the stand-ins for Liquid tokens; comments are kept then, since some stand for tags."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=partial(_filter_attribute, marker),
        strip_comments=not marker,
        link_rel=None,
        url_schemes=_SCHEMES,
        filter_style_properties=_STYLES,
    )


def _filter_attribute(marker: str, _tag: str, name: str, value: str) -> str | None:
    """Drop relative links, which lead nowhere in an email, and images that would be fetched unencrypted."""
    if name == "href":
        return value if _is_absolute(value, marker) else None
    if name == "src":
        return value if value.strip().lower().startswith("https://") else None
    return value


# -- an owner's source: HTML with Liquid tokens, which must survive


class MisplacedTag(Exception):
    """A Liquid tag stands where the sanitiser cannot keep it; ``index`` is its position in the source."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def sanitize_source(source: str) -> tuple[str, list[str]]:
    """Return the sanitised source of a text and descriptions of what was removed.

    During sanitising, a word stands for each output and a comment for each tag, because comments may stand
    anywhere, even between the rows of a table. Inside an HTML tag, a word stands for both.

    Raises:
        MisplacedTag: sanitising would remove or move a Liquid tag.
    """
    marker = _unused_marker(source)
    masked, tokens = _mask_tokens(source, marker)
    cleaned = _clean(masked, marker)
    if "<tbody" not in source.lower():  # the sanitiser adds the implied element; keep the source as written
        cleaned = cleaned.replace("<tbody>", "").replace("</tbody>", "")
    removed = _ElementCounter.count(masked, marker).more_than(_ElementCounter.count(cleaned, marker))
    unmasked = re.sub(rf"<!--(?:(?!{marker}).)*?-->", "", cleaned, flags=re.DOTALL)
    unmasked = re.sub(rf"<!--({marker}\d+x)-->", r"\1", unmasked)
    _check_tags_kept(source, tokens, unmasked, marker)
    return re.sub(rf"{marker}(\d+)x", lambda match: tokens[int(match.group(1))], unmasked), removed


def _unused_marker(source: str) -> str:
    number = 0
    while f"zq{number}z" in source:
        number += 1
    return f"zq{number}z"


def _mask_tokens(source: str, marker: str) -> tuple[str, list[str]]:
    """Return the source with numbered stand-ins instead of Liquid tokens, and the tokens."""
    tokens: list[str] = []
    masked, in_html_tag, end = "", False, 0
    for match in TOKEN.finditer(source):
        between = source[end : match.start()]
        in_html_tag = _ends_in_html_tag(between, before=in_html_tag)
        word = f"{marker}{len(tokens)}x"
        as_comment = match.group().startswith("{%") and not in_html_tag
        masked += between + (f"<!--{word}-->" if as_comment else word)
        tokens.append(match.group())
        end = match.end()
    return masked + source[end:], tokens


def _ends_in_html_tag(text: str, *, before: bool) -> bool:
    """Return whether ``text`` ends inside an HTML tag; ``before`` is whether it begins in one."""
    opened, closed = text.rfind("<"), text.rfind(">")
    return before if opened == closed == -1 else opened > closed


def _check_tags_kept(source: str, tokens: list[str], unmasked: str, marker: str) -> None:
    """Raise MisplacedTag unless all Liquid tags remain, each once and in their order."""
    kept = re.findall(rf"{marker}(\d+)x", unmasked)
    order = [number for number in kept if tokens[int(number)].startswith("{%")]
    expected = [str(number) for number, token in enumerate(tokens) if token.startswith("{%")]
    if order == expected:
        return
    number = int(next((one for one in expected if order.count(one) != 1), expected[0]))
    index = [match.start() for match in TOKEN.finditer(source)][number]
    shown = " ".join(tokens[number].split())[:40]
    raise MisplacedTag(f"{shown} cannot stand here, inside a tag. Put it around whole elements.", index)


class _ElementCounter(HTMLParser):
    """Counts elements and attributes by description, to find those that the sanitiser removed."""

    def __init__(self, marker: str) -> None:
        super().__init__(convert_charrefs=True)
        self._marker = marker
        self._counts: Counter[str] = Counter()

    @classmethod
    def count(cls, html: str, marker: str) -> _ElementCounter:
        counter = cls(marker)
        counter.feed(html)
        counter.close()
        return counter

    def more_than(self, other: _ElementCounter) -> list[str]:
        """Return the descriptions that have a higher count here than in ``other``."""
        return [text for text, count in self._counts.items() if count > other._counts[text]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("html", "head", "body", "meta", "link", "tbody"):
            return
        self._counts[f"<{tag}>" + (" and what was in it" if tag in _DROPPED_WITH_CONTENT else "")] += 1
        if tag not in _TAGS:
            return
        for name, value in attrs:
            if name == "style":
                self._counts.update(f"the style “{one}” of <{tag}>" for one in _properties(value or ""))
            elif name == "href" and not _is_absolute(value or "", self._marker):
                self._counts[f"the link “{(value or '')[:60]}”"] += 1
            else:
                self._counts[f"{name} of <{tag}>"] += 1

    def handle_comment(self, data: str) -> None:
        if self._marker not in data:
            self._counts["a comment"] += 1


def _properties(style: str) -> set[str]:
    return {name for part in style.split(";") if (name := part.partition(":")[0].strip().lower())}


def _is_absolute(address: str, marker: str) -> bool:
    """Return whether a link is absolute, or begins with a Liquid token, whose value is not known yet."""
    is_token = bool(marker) and address.strip().startswith(marker)
    return is_token or _URL.match(address.strip()) is not None
