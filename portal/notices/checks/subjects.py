"""HTML in a subject, whose tags an inbox shows."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

from flask_babel import gettext as _

LIMIT_CHARS = 200
READ_LIMIT_CHARS = 2_000  # a longer subject is refused for its length, and not read
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs without ink
_ELEMENTS = {
    "a", "abbr", "article", "aside", "b", "big", "blink", "blockquote", "body", "br", "button", "caption", "center",
    "cite", "code", "dd", "del", "div", "dl", "dt", "em", "font", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "head", "header", "hr", "html", "i", "iframe", "img", "input", "ins", "kbd", "label", "li", "main", "mark",
    "marquee", "meta", "nav", "object", "ol", "p", "pre", "q", "s", "samp", "script", "section", "small", "span",
    "strike", "strong", "style", "sub", "sup", "svg", "table", "tbody", "td", "tfoot", "th", "thead", "title", "tr",
    "tt", "u", "ul", "video", "wbr",
}  # fmt: skip
_TAG = re.compile(  # of any name: whether it is that of an element is looked up
    r"<(?:/?([a-z][a-z0-9]{0,11})(?:\s[^<>]{0,300})?/?>|!--(?:(?!<!--|-->).){0,300}+-->|!doctype[^<>]{0,100}>)",
    re.IGNORECASE | re.DOTALL,
)
_REFERENCE = re.compile(
    r"&(?:[A-Za-z]{2,30}[0-9]{0,2}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});|&(?:amp|nbsp|quot|copy|reg|lt|gt)(?![\w;])"
)


def describe_length() -> str:
    """Return the error of a subject that is too long."""
    return str(_("Shorten the subject to %(limit)s characters; inboxes show about 60.", limit=LIMIT_CHARS))


def find_html(subject: str) -> list[str]:
    """Return the tags and the character references of a subject."""
    references = [one for one in _REFERENCE.findall(subject) if unescape(one) != one]
    return [*find_tags(subject), *references]


def find_tags(text: str) -> list[str]:
    """Return the tags, the comments and the declarations of a document type in a text, in order."""
    return [match.group() for match in _TAG.finditer(text) if _is_html(match)]


def _is_html(tag: re.Match[str]) -> bool:
    return tag[1] is None or tag[1].lower() in _ELEMENTS


def remove_html(subject: str) -> str:
    """Return the subject without tags, and with the characters that its references stand for."""
    without = _TAG.sub(_shown, subject)
    return " ".join(_REFERENCE.sub(lambda match: unescape(match.group()), without).split())


def _shown(tag: re.Match[str]) -> str:
    if not _is_html(tag):
        return tag.group()
    return " " if tag.group().lower().startswith("<br") else ""


def is_invisible(subject: str) -> bool:
    """Return whether a subject has spaces and characters without a shape only, which an inbox shows as none."""
    return all(
        one.isspace() or unicodedata.category(one) in ("Cf", "Cc", "Mn") or one in _BLANK for one in subject
    )
