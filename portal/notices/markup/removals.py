"""What sanitising a source removes, in words for its owner, with the reason for each."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from .html_tokens import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .html_tokens import Token

ACTIVE = lazy_gettext("no mail program runs scripts or shows forms, frames and videos")
STYLE = lazy_gettext("Signet keeps styles for colours, fonts, sizes, borders and spacing only")
UNSAFE_STYLE = lazy_gettext("the value of a style may hold words, numbers and colours only")
HIDDEN = "recipients would not see it; the words after the subject come from your first paragraph"
COMMENT = lazy_gettext("recipients do not see comments")
CONDITIONAL = lazy_gettext("Signet adds its own layout for Outlook")
LINK = "a link may begin with https://, http://, mailto: or tel: only"
PICTURE = "mail programs load pictures from addresses with https:// only"
HEAD = lazy_gettext("Signet adds its own head and styles")
OTHER = lazy_gettext("Signet does not keep it")

_ACTIVE_TAGS = {
    "script", "noscript", "template", "iframe", "object", "embed", "form", "input", "button", "select", "textarea",
    "video", "audio", "svg", "math", "canvas",
}  # fmt: skip
_HEAD_TAGS = {"style", "title", "link", "base"}
_NOT_REPORTED = {"html", "head", "body", "meta", "tbody"}  # a whole document has them, and loses nothing
_BODY_ATTRIBUTES = {"style", "bgcolor", "background", "text", "link"}
_BLOCKS = {  # without looks of their own
    "section", "article", "main", "header", "footer", "nav", "aside", "figure", "figcaption", "address", "hgroup", "search",
    "details", "summary",
}  # fmt: skip
RENAMED = {  # so that their words do not run together
    **dict.fromkeys(("h4", "h5", "h6"), "h3"),
    **dict.fromkeys((*_BLOCKS, "dl", "dt", "dd"), "div"),
}
_CONDITIONAL = re.compile(r"(?:\[if|\[endif|<!\[endif)", re.IGNORECASE)
_ZERO = r"\s?:\s?0(?:\.0+)?(?:px|pt|r?em|%)?\s?(?=[;!]|\Z)"
_HIDING = re.compile(
    r"display\s?:\s?none|visibility\s?:\s?hidden|mso-hide\s?:\s?all"
    rf"|(?<![\w-])(?:opacity|max-height|max-width){_ZERO}|(?<![\w-])(?:text-indent|left|top)\s?:\s?-[0-9]{{3}}",
    re.IGNORECASE,
)
_NO_SIZE = re.compile(rf"(?<![\w-])(?:height|width){_ZERO}", re.IGNORECASE)
_CUT_OFF = re.compile(r"overflow\s?:\s?hidden", re.IGNORECASE)
_CLASS_ALONE = re.compile(r"\s*[a-z0-9]{0,20}\.([\w-]{1,60})\s*", re.IGNORECASE)
_COLOUR = re.compile(
    r"(?:#[0-9a-f]{3,8}|[a-z]{3,30}|(?:rgb|hsl)a?\([^()]{1,60}\))(?:\s*+!important)?", re.IGNORECASE
)
_VOID = {"br", "hr", "img"}
_WITHOUT_END = {
    *_VOID, "area", "base", "col", "embed", "input", "link", "meta", "param", "source", "track", "wbr",
    "html", "head", "body",
}  # fmt: skip
_SHOWN_CHARS = 60


class Removal(NamedTuple):
    """A part that was removed, and why."""

    what: str
    why: str


_OUTLOOK_COMMENT = Removal(lazy_gettext("a comment for Outlook"), CONDITIONAL)
_COMMENT = Removal(lazy_gettext("a comment"), COMMENT)


class SanitizerRules(NamedTuple):
    """What the sanitiser keeps: elements, and whether a style, an address of a link or of a picture is allowed."""

    tags: set[str]
    dropped_with_content: set[str]
    is_style_kept: Callable[[str], bool]
    is_address: Callable[[str], bool]
    is_picture: Callable[[str], bool]


def split_hidden(tokens: Sequence[Token], rules: SanitizerRules) -> tuple[list[Token], list[Removal]]:
    """Return the tokens without elements that are not shown, and descriptions of these.

    That are elements hidden by their style, which would become visible without it, and pictures that cannot be loaded.
    """
    kept: list[Token] = []
    removals: list[Removal] = []
    hidden: _HiddenElement | None = None
    classes = _find_hidden_classes(tokens)
    for token in tokens:
        if hidden is not None:
            if hidden.ends_with(token):
                removals.append(hidden.removal)
                hidden = None
            continue
        removal = _describe_unseen(token, rules, classes)
        if removal is not None:
            removals.append(removal)
        elif _is_hidden(token, classes) and token.value not in rules.dropped_with_content | _WITHOUT_END:
            hidden = _HiddenElement(token.value)
        else:
            kept.append(token)
    if hidden is not None:
        removals.append(hidden.removal)
    return kept, removals


class _HiddenElement:
    """An element that is removed with its content, which is read up to its end tag."""

    def __init__(self, tag: str) -> None:
        self._tag, self._depth = tag, 1
        self._words: list[str] = []

    def ends_with(self, token: Token) -> bool:
        """Read the next token; return whether it is the end of the element."""
        if token.kind is Kind.TEXT:
            self._words.append(token.value)
        elif token.value == self._tag and token.kind in (Kind.START, Kind.END):
            self._depth += 1 if token.kind is Kind.START else -1
        return not self._depth

    @property
    def removal(self) -> Removal:
        return Removal(_("the hidden text “%(shorten)s”", shorten=_shorten("".join(self._words))), HIDDEN)


def _is_hidden(token: Token, classes: set[str]) -> bool:
    """Return whether the start of an element hides it."""
    if token.kind is not Kind.START or not token.attributes:
        return False
    values = token.decoded_attributes
    return (
        _hides(values.get("style", ""))
        or "hidden" in values
        or bool(classes and not classes.isdisjoint(values.get("class", "").split()))
    )


def _hides(style: str) -> bool:
    if _HIDING.search(style) is not None:
        return True
    return _CUT_OFF.search(style) is not None and _NO_SIZE.search(style) is not None


def _find_hidden_classes(tokens: Sequence[Token]) -> set[str]:
    """Return the classes that a ``<style>`` hides at all widths. It is removed, and would show them."""
    found: set[str] = set()
    for before, token in pairwise(tokens):
        if token.kind is Kind.TEXT and before.kind is Kind.START and before.value == "style":
            found |= _hidden_classes_of(token.value)
    return found


def _hidden_classes_of(css: str) -> set[str]:
    """Return the classes of rules that are not in ``@media``. Takes linear time."""
    css = re.sub(r"/\*.*?(?:\*/|\Z)", "", css, flags=re.DOTALL)
    found: set[str] = set()
    depth, selector, at = 0, "", 0
    for brace in re.finditer(r"[{}]", css):
        between = css[at : brace.start()]
        at = brace.end()
        if brace.group() == "{":
            selector = selector if depth else between
            depth += 1
        elif depth:
            depth -= 1
            if not depth and "@" not in selector and _hides(between):
                matches = map(_CLASS_ALONE.fullmatch, selector.split(","))
                found |= {match.group(1) for match in matches if match is not None}
    return found


def _describe_unseen(token: Token, rules: SanitizerRules, classes: set[str]) -> Removal | None:
    """Return the removal of an element without content that is not shown: a hidden one, or a picture without its file."""
    if token.kind is not Kind.START or token.value not in _VOID:
        return None
    if _is_hidden(token, classes):
        return Removal(f"a hidden <{token.value}>", HIDDEN)
    address = token.decoded_attributes.get("src", "")
    if token.value != "img" or rules.is_picture(address):
        return None
    return Removal(
        _("the picture “%(shorten)s”", shorten=_shorten(address))
        if address
        else _("a picture without an address"),
        PICTURE,
    )


def count_parts(tokens: Iterable[Token], marker: str, rules: SanitizerRules) -> Counter[Removal]:
    """Count comments, elements and attributes by their description; comments with the marker stand for Liquid tags."""
    counts: Counter[Removal] = Counter()
    for token in tokens:
        if token.kind is Kind.COMMENT and marker not in token.value:
            is_conditional = _CONDITIONAL.match(token.value.lstrip()) is not None
            counts[_OUTLOOK_COMMENT if is_conditional else _COMMENT] += 1
        elif token.kind is Kind.START and token.value == "body":
            counts.update(
                Removal(_("%(name)s of <body>", name=name), HEAD)
                for name in token.attributes
                if name in _BODY_ATTRIBUTES
            )
        elif token.kind is Kind.START and token.value not in (*_NOT_REPORTED, *_BLOCKS):
            counts.update(_describe(token, rules))
    return counts


def normalize_style(declaration: str) -> str:
    """Return a declaration with its name in lower case; a background that is a colour only has the name of that."""
    name, colon, value = declaration.partition(":")
    name = name.strip().lower()
    if name == "background" and _COLOUR.fullmatch(value.strip()):
        name = "background-color"
    return f"{name}{colon}{value}"


def _describe(token: Token, rules: SanitizerRules) -> Iterator[Removal]:
    tag = token.value
    why = ACTIVE if tag in _ACTIVE_TAGS else HEAD if tag in _HEAD_TAGS else OTHER
    why = _("it becomes <%(value)s>", value=RENAMED[tag]) if why is OTHER and tag in RENAMED else why
    yield Removal(f"<{tag}>" + (" and what was in it" if tag in rules.dropped_with_content else ""), why)
    if tag not in rules.tags:
        return
    for name, value in token.decoded_attributes.items():
        if name == "style":
            for declaration in value.split(";"):
                style = normalize_style(declaration).partition(":")[0].strip()
                if style:
                    why = STYLE if rules.is_style_kept(declaration) else UNSAFE_STYLE
                    yield Removal(
                        _("the style “%(shorten)s” of <%(tag)s>", shorten=_shorten(style), tag=tag), why
                    )
        elif name == "href" and not rules.is_address(value):
            yield Removal(_("the link “%(shorten)s”", shorten=_shorten(value)), LINK)
        else:
            yield Removal(
                _("%(shorten)s of <%(tag)s>", shorten=_shorten(name), tag=tag),
                ACTIVE if name.startswith("on") else OTHER,
            )


def _shorten(text: str) -> str:
    text = " ".join(text[: 10 * _SHOWN_CHARS].split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
