"""What sanitising a source removes, in words for its owner, with the reason for each."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from flask_babel import lazy_gettext

from .html_tokens import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .html_tokens import Token


@dataclass(frozen=True, eq=False)
class _Words:
    """Words that are translated when they are shown. Compared by identity: thousands of parts are counted by them."""

    text: object

    def __str__(self) -> str:
        return str(self.text)


ACTIVE = _Words(lazy_gettext("email apps do not run scripts or show forms, frames and videos"))
STYLE = _Words(lazy_gettext("Signet keeps styles for colours, fonts, sizes, borders and spacing only"))
UNSAFE_STYLE = _Words(lazy_gettext("the value of a style may contain words, numbers and colours only"))
HIDDEN = _Words("recipients would not see it; the words after the subject come from your first paragraph")
COMMENT = _Words(lazy_gettext("recipients do not see comments"))
CONDITIONAL = _Words(lazy_gettext("Signet adds its own layout for Outlook"))
LINK = _Words("a link may begin with https://, http://, mailto: or tel: only")
PICTURE = _Words("mail programs load pictures from addresses with https:// only")
HEAD = _Words(lazy_gettext("Signet adds its own head and styles"))
OTHER = _Words(lazy_gettext("Signet does not keep it"))

_HIDDEN_TEXT = _Words(lazy_gettext("the hidden text “%(text)s”"))
_PICTURE = _Words(lazy_gettext("the picture “%(address)s”"))
_EMPTY_PICTURE = _Words(lazy_gettext("a picture without an address"))
_BODY_ATTRIBUTE = _Words(lazy_gettext("%(name)s of <body>"))
_RENAMED_TO = _Words(lazy_gettext("it becomes <%(tag)s>"))
_STYLE = _Words(lazy_gettext("the style “%(style)s” of <%(tag)s>"))
_LINK = _Words(lazy_gettext("the link “%(address)s”"))
_ATTRIBUTE = _Words(lazy_gettext("%(attribute)s of <%(tag)s>"))
_OUTLOOK_COMMENT = _Words(lazy_gettext("a comment for Outlook"))
_COMMENT = _Words(lazy_gettext("a comment"))
_ELEMENT = _Words("<%(tag)s>")

_ACTIVE_TAGS = {
    "script", "noscript", "template", "iframe", "object", "embed", "form", "input", "button", "select", "textarea",
    "video", "audio", "svg", "math", "canvas",
}  # fmt: skip
_HEAD_TAGS = {"style", "title", "link", "base"}
_NOT_REPORTED = {"html", "head", "meta", "tbody"}  # a whole document has them, and loses nothing
_BODY_ATTRIBUTES = {"style", "bgcolor", "background", "text", "link"}
_BLOCKS = {  # without looks of their own
    "section", "article", "main", "header", "footer", "nav", "aside", "figure", "figcaption", "address", "hgroup", "search",
    "details", "summary",
}  # fmt: skip
_WITHOUT_REPORT = _NOT_REPORTED | _BLOCKS
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


class Phrase(NamedTuple):
    """Words and what is inserted into them, pairs of a name and a value; ``str()`` translates and inserts."""

    words: _Words | str
    values: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return str(self.words) % dict(self.values) if self.values else str(self.words)

    def unmasked(self, unmask: Callable[[str], str]) -> Phrase:
        """Return the phrase with each inserted value changed by ``unmask``."""
        return self._replace(values=tuple((name, unmask(value)) for name, value in self.values))


class Removal(NamedTuple):
    """A part that was removed, and why."""

    what: Phrase
    why: Phrase


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
        return _removal(_HIDDEN_TEXT, HIDDEN, text=_shorten("".join(self._words)))


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
        return _removal(f"a hidden <{token.value}>", HIDDEN)
    address = token.decoded_attributes.get("src", "")
    if token.value != "img" or rules.is_picture(address):
        return None
    if not address:
        return _removal(_EMPTY_PICTURE, PICTURE)
    return _removal(_PICTURE, PICTURE, address=_shorten(address))


class _CountedPart(NamedTuple):
    """A comment, an element or an attribute as it is counted: what it is called, why it may be missing, its tag, its value."""

    what: _Words
    why: _Words
    tag: str = ""
    value: str = ""


def find_removals(
    read: Iterable[Token], kept: Iterable[Token], marker: str, rules: SanitizerRules
) -> list[Removal]:
    """Return descriptions of the comments, elements and attributes that were read and not kept.

    Comments with the marker stand for Liquid tags. Parts are counted as they are; only those that are missing are described.
    """
    missing = _count_parts(read, marker, rules) - _count_parts(kept, marker, rules)
    return list(dict.fromkeys(_describe(part, rules) for part in missing))


def _count_parts(tokens: Iterable[Token], marker: str, rules: SanitizerRules) -> Counter[_CountedPart]:
    counts: Counter[_CountedPart] = Counter()
    found: dict[object, tuple[Token, int]] = {}  # a text repeats few start tags many times
    for token in tokens:
        if token.kind is Kind.COMMENT and marker not in token.value:
            key: object = (Kind.COMMENT, _is_conditional(token))
        elif token.kind is Kind.START and token.value not in _WITHOUT_REPORT:
            key = (token.value, *token.attributes.items()) if token.attributes else token.value
        else:
            continue
        found[key] = (token, found[key][1] + 1 if key in found else 1)
    for token, times in found.values():
        for part, number in _parts_of(token, rules):
            counts[part] += times * number
    return counts


def _is_conditional(comment: Token) -> bool:
    return _CONDITIONAL.match(comment.value.lstrip()) is not None


def normalize_style(declaration: str) -> str:
    """Return a declaration with its name in lower case; a background that is a colour only has the name of that."""
    name, colon, value = declaration.partition(":")
    name = name.strip().lower()
    if name == "background" and _COLOUR.fullmatch(value.strip()):
        name = "background-color"
    return f"{name}{colon}{value}"


def _parts_of(token: Token, rules: SanitizerRules) -> Iterator[tuple[_CountedPart, int]]:
    """Yield the parts of a comment or a start tag, and how often it has each."""
    if token.kind is Kind.COMMENT:
        yield (
            _CountedPart(
                *((_OUTLOOK_COMMENT, CONDITIONAL) if _is_conditional(token) else (_COMMENT, COMMENT))
            ),
            1,
        )
        return
    tag = token.value
    if tag == "body":
        yield from (
            (_CountedPart(_BODY_ATTRIBUTE, HEAD, tag, one), 1)
            for one in token.attributes
            if one in _BODY_ATTRIBUTES
        )
        return
    yield (
        _CountedPart(_ELEMENT, ACTIVE if tag in _ACTIVE_TAGS else HEAD if tag in _HEAD_TAGS else OTHER, tag),
        1,
    )
    if tag not in rules.tags:
        return
    for name, value in token.decoded_attributes.items():
        if name == "style":
            for declaration, times in Counter(value.split(";")).items():
                style = normalize_style(declaration).partition(":")[0].strip()
                if style:
                    why = STYLE if rules.is_style_kept(declaration) else UNSAFE_STYLE
                    yield _CountedPart(_STYLE, why, tag, style), times
        elif name == "href" and not rules.is_address(value):
            yield _CountedPart(_LINK, LINK, tag, value), 1
        else:
            yield _CountedPart(_ATTRIBUTE, ACTIVE if name.startswith("on") else OTHER, tag, name), 1


def _describe(part: _CountedPart, rules: SanitizerRules) -> Removal:
    what, why, tag, value = part
    if what is _ELEMENT:
        is_renamed = why is OTHER and tag in RENAMED
        reason = Phrase(_RENAMED_TO, (("tag", RENAMED[tag]),)) if is_renamed else Phrase(why)
        return Removal(
            Phrase(f"<{tag}>" + (" and what was in it" if tag in rules.dropped_with_content else "")), reason
        )
    if what is _STYLE:
        return _removal(what, why, style=_shorten(value), tag=tag)
    if what is _LINK:
        return _removal(what, why, address=_shorten(value))
    if what is _ATTRIBUTE:
        return _removal(what, why, attribute=_shorten(value), tag=tag)
    return _removal(what, why, name=value) if what is _BODY_ATTRIBUTE else _removal(what, why)


def _removal(what: _Words | str, why: _Words, **values: str) -> Removal:
    return Removal(Phrase(what, tuple(values.items())), Phrase(why))


def _shorten(text: str) -> str:
    text = " ".join(text[: 10 * _SHOWN_CHARS].split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
