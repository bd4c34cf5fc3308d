"""The HTML of a text: what may stand in it. Whatever is mailed went through here after its values were filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import nh3

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
CLASSES = ("button", "slip", "figure", "facts", "quiet")  # what the frame knows how to dress
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
class Sanitised:
    """HTML that was sanitised, which is why a template may put it in as it is."""

    html: str

    def __html__(self) -> str:
        return self.html


def sanitise(html: str) -> Sanitised:
    """Keep what a mail may hold; everything is closed and in order afterwards."""
    return Sanitised(_cleaned(html, absolute=True))


def _cleaned(html: str, *, absolute: bool, keep_comments: bool = False) -> str:
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=_only_absolute if absolute else None,
        strip_comments=not keep_comments,
        link_rel=None,
        url_schemes=_SCHEMES,
        filter_style_properties=_STYLES,
    )


def _only_absolute(tag: str, name: str, value: str) -> str | None:
    """Drop addresses that lead nowhere in a mail."""
    if name == "href":
        return value if _URL.match(value.strip()) else None
    if name == "src":
        return value if value.strip().lower().startswith("https://") else None
    return value
