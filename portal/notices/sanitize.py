"""Sanitising of the HTML of texts: an allowlist of elements, attributes and styles, enforced by nh3.

A text is sanitised twice: its source when it is saved, and each email after the values were inserted.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import nh3
from flask_babel import gettext

from .liquid import LiquidToken, find_tokens
from .markup.html_tokens import Kind, Token, read_tokens
from .markup.removals import RENAMED, Removal, SanitizerRules, find_removals, normalize_style, split_hidden
from .markup.well_formed import WellFormedHtml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAGS = {
    "h1", "h2", "h3", "p", "br", "hr", "a", "strong", "b", "em", "i", "u", "s", "small", "sub", "sup", "span", "div",
    "ul", "ol", "li", "blockquote", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "img", "center", "font",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"class", "style", "dir", "lang"},
    "a": {"href", "title"},
    "img": {"src", "alt", "width", "height", "align", "border"},
    "ol": {"start"},
    **{tag: {"align"} for tag in ("p", "div", "h1", "h2", "h3")},
    **{tag: {"colspan", "rowspan", "align", "valign", "width", "height", "bgcolor"} for tag in ("td", "th")},
    "tr": {"align", "valign", "bgcolor"},
    "table": {"width", "height", "align", "bgcolor", "border", "cellpadding", "cellspacing"},
    "font": {"color", "face", "size"},
}
_STYLES = {
    "background-color", "border", "border-bottom", "border-left", "border-radius", "border-right", "border-top",
    "color", "direction", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing", "line-height",
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
_KEPT = {"*": _ATTRIBUTES["*"], **{tag: _ATTRIBUTES.get(tag, set()) for tag in _TAGS}}
_TAG_KINDS = (Kind.START, Kind.END)
_SCHEMES = {"http", "https", "mailto", "tel"}
_COLOUR_FUNCTION = re.compile(r"\b(?:rgb|hsl)a?\([0-9 ,.%/]*\)", re.IGNORECASE)
_PLAIN_STYLE_VALUE = re.compile(r"[\w\s#%.,!'\"/+-]*")
_COMMON_STYLE_VALUE = re.compile(r"[\w #%.,-]*")  # neither quotes nor a function
_MAILBOX_SCHEME = re.compile(r"\A(?:mailto|tel):", re.IGNORECASE)
ELEMENT_LIMIT = 1_000  # of an email; values can add line breaks to those of its source
SOURCE_ELEMENT_LIMIT = 400  # of a source; the longest one has 50 characters for each
_URL = re.compile(r"(?i)(?:https?://[^\s/]|mailto:[^\s@]+@|tel:[+(0-9])")


@dataclass(frozen=True)
class SanitizedHtml:
    """Sanitised HTML. Jinja inserts it into a template without escaping."""

    html: str

    @cached_property
    def tokens(self) -> Sequence[Token]:
        """The tokens of the HTML."""
        return tuple(read_tokens(self.html))

    def __html__(self) -> str:
        return self.html


def sanitize(html: str) -> SanitizedHtml:
    """Remove all that is not allowed in an email. The result is balanced HTML without comments.

    Raises:
        TooManyElements: the HTML has more elements than ``ELEMENT_LIMIT``, before or after closing those left open.
    """
    _check_element_count(html, ELEMENT_LIMIT)
    return SanitizedHtml(_clean(read_tokens(html)))


def has_many_elements(html: str, limit: int = SOURCE_ELEMENT_LIMIT) -> bool:
    """Return whether HTML has more tags than ``limit`` elements, which have two each."""
    return html.count("<") > 2 * limit


def _check_element_count(html: str, limit: int) -> None:
    if has_many_elements(html, limit):
        raise TooManyElements(
            gettext("It has more than %(element_limit)s elements.", element_limit=f"{limit:,}")
        )


def _clean(tokens: Iterable[Token], marker: str = "") -> str:
    """Run nh3. A ``marker`` begins the stand-ins for Liquid tokens; comments are kept then, since some stand for tags."""
    writer = WellFormedHtml(_KEPT, dropped_with_content=_DROPPED_WITH_CONTENT, kept_comment=marker)
    html = writer.write(
        one._replace(value=RENAMED[one.value]) if one.kind in _TAG_KINDS and one.value in RENAMED else one
        for one in tokens
    )
    _check_element_count(html, SOURCE_ELEMENT_LIMIT if marker else ELEMENT_LIMIT)
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
    """Drop relative links, which lead nowhere in an email, unencrypted images, and styles with unsafe values."""
    if name == "href":
        return value if _is_absolute(value, marker) else None
    if name == "src":
        return value if _is_picture(value) else None
    if name == "style":
        return ";".join(map(normalize_style, filter(_is_plain_style, value.split(";")))) or None
    return value


def _is_plain_style(declaration: str) -> bool:
    """Return whether the value of a style is words, numbers and colours: no ``url()``, no ``expression()``, no escapes.

    Current browsers ignore such values here, but old mail programs fetch or run them.
    """
    _, _, value = declaration.partition(":")
    if _COMMON_STYLE_VALUE.fullmatch(value):
        return True
    is_balanced = value.count("'") % 2 == value.count('"') % 2 == 0
    return is_balanced and _PLAIN_STYLE_VALUE.fullmatch(_COLOUR_FUNCTION.sub("", value)) is not None


# -- an owner's source: HTML with Liquid tokens, which must survive


class TooManyElements(ValueError):
    """The HTML has too many elements for an email. The message is one sentence for the owner."""


class MisplacedTag(Exception):
    """A Liquid tag stands where the sanitiser cannot keep it; ``index`` is its position in the source."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class SanitizedSource(NamedTuple):
    """The sanitised source of a text, what was removed, and the addresses of its links and pictures as they were entered."""

    html: str
    removed: list[Removal]
    addresses: list[str]
    pictures: list[str]


def sanitize_source(source: str) -> SanitizedSource:
    """Sanitise the source of a text.

    During sanitising, a word stands for each output and a comment for each tag, because comments may stand
    anywhere, even between the rows of a table. Inside an HTML tag, a word stands for both.

    Raises:
        MisplacedTag: sanitising would remove or move a Liquid tag.
        TooManyElements: the source has more elements than ``SOURCE_ELEMENT_LIMIT``.
    """
    _check_element_count(source, SOURCE_ELEMENT_LIMIT)
    marker = unused_marker(source)
    masked, tokens = _mask_tokens(source, marker)
    rules = SanitizerRules(
        _TAGS, _DROPPED_WITH_CONTENT, _is_plain_style, partial(_is_absolute, marker=marker), _is_picture
    )
    read, hidden = split_hidden(tuple(read_tokens(masked)), rules)
    cleaned = _clean(read, marker)
    if "<tbody" not in source.lower():  # the sanitiser adds the implied element; keep the source as written
        cleaned = cleaned.replace("<tbody>", "").replace("</tbody>", "")
    removed = [*hidden, *find_removals(read, read_tokens(cleaned), marker, rules)]
    unmasked = re.sub(rf"<!--({marker}\d+x)-->", r"\1", cleaned)
    _check_tags_kept(tokens, unmasked, marker)

    word = re.compile(rf"{marker}(\d+)x")

    def unmask(text: str) -> str:
        return word.sub(lambda match: tokens[int(match.group(1))].text, text) if marker in text else text

    def addresses_of(tag: str, attribute: str) -> list[str]:
        starts = (one for one in read if one.kind is Kind.START and one.value == tag)
        return [unmask(one.decoded_attributes[attribute]) for one in starts if attribute in one.attributes]

    return SanitizedSource(
        unmask(unmasked),
        [Removal(what.unmasked(unmask), why) for what, why in removed] if tokens else removed,
        addresses_of("a", "href"),
        addresses_of("img", "src"),
    )


def unused_marker(source: str) -> str:
    """Return the beginning of words that stand for Liquid tokens and occur nowhere in the source."""
    used = set(re.findall(r"(?=zq([0-9]{1,5})z)", source))
    number = next(number for number in range(len(used) + 1) if str(number) not in used)
    return f"zq{number}z"


def _mask_tokens(source: str, marker: str) -> tuple[str, list[LiquidToken]]:
    """Return the source with numbered stand-ins instead of Liquid tokens, and the tokens."""
    tokens = find_tokens(source)
    parts: list[str] = []
    in_html_tag, end = False, 0
    for number, token in enumerate(tokens):
        between = source[end : token.start]
        if between:
            in_html_tag = _ends_in_html_tag(between, before=in_html_tag)
        word = f"{marker}{number}x"
        parts += (between, f"<!--{word}-->" if token.is_tag and not in_html_tag else word)
        end = token.end
    return "".join((*parts, source[end:])), tokens


def _ends_in_html_tag(text: str, *, before: bool) -> bool:
    """Return whether ``text`` ends inside an HTML tag; ``before`` is whether it begins in one."""
    opened, closed = text.rfind("<"), text.rfind(">")
    return before if opened == closed == -1 else opened > closed


def _check_tags_kept(tokens: Sequence[LiquidToken], unmasked: str, marker: str) -> None:
    """Raise MisplacedTag unless all Liquid tags remain, each once and in their order."""
    expected = [number for number, token in enumerate(tokens) if token.is_tag]
    if not expected:
        return
    kept = [int(number) for number in re.findall(rf"{marker}(\d+)x", unmasked)]
    order = [number for number in kept if tokens[number].is_tag]
    if order == expected:
        return
    times = Counter(order)
    token = tokens[next((number for number in expected if times[number] != 1), expected[0])]
    shown = " ".join(token.text.split())[:40]
    raise MisplacedTag(
        gettext(
            "%(shown)s cannot be inside a tag or a part that is removed. Put it around whole elements.",
            shown=shown,
        ),
        token.start,
    )


def _is_picture(address: str) -> bool:
    return address.strip().lower().startswith("https://")


def _is_absolute(address: str, marker: str) -> bool:
    """Return whether a link is absolute, or is or has a Liquid token, whose value is not known yet."""
    address = address.strip()
    is_token = bool(marker) and _MAILBOX_SCHEME.sub("", address, count=1).startswith(marker)
    return is_token or _URL.match(address) is not None
