"""The syntax of one part of a text: what Liquid cannot parse, what is not closed, and variables that do not exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from flask_babel import get_locale
from flask_babel import gettext as _
from liquid.exceptions import LiquidError

from .. import sanitize
from ..catalogue import CATALOGUE
from ..liquid import (
    FILTER_LIMIT,
    FILTERS,
    SOURCE_LIMIT_CHARS,
    TAGS,
    TOKEN_LIMIT,
    TOKEN_LIMIT_CHARS,
    UnrenderableText,
    find_tokens,
    find_unclosed,
    parse,
    parse_token,
)
from .masks import mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from liquid import BoundTemplate

    from ..catalogue import Notice

_QUOTED_LIMIT_CHARS = 40  # of a token that an error quotes
_TAG_NAME = re.compile(r"\{%-?\s*(\w*)")
_FILTER_NAME = re.compile(r"\|\s*(\w+)")
_PLAIN_OUTPUT = re.compile(
    r"\{\{-? {0,5}([a-z][a-z0-9_]{0,40}+) {0,5}"
    r"(?:\| {0,5}[a-z0-9_]{1,20}+(?:: {0,5}(?:'[^'{}]*+'|\"[^\"{}]*+\"|[0-9]{1,6}+))?+ {0,5}){0,5}+-?\}\}"
)
_WORD = re.compile(r"[^\W\d][\w-]*+")
_STRING_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"")
_BLOCKS = {"if", "unless", "case"}
_BRANCHES = {"else": _BLOCKS, "elsif": {"if", "unless"}, "when": {"case"}}  # the blocks each may stand in


@dataclass(frozen=True)
class TextError:
    """One error in a text. ``line`` counts from 1.

    ``unknown`` is the name of an unknown variable; a similar one is searched for only if the error is shown.
    """

    line: int
    sentence: str
    unknown: str = ""


def find_errors(source: str, notice: Notice, *, html: bool) -> Iterator[TextError]:
    """Yield the errors of one part of a text. The checks of variables need a source without other errors."""
    if len(source) > SOURCE_LIMIT_CHARS:
        yield TextError(1, describe_length(len(source), converted=True))
        return
    if sanitize.has_many_elements(source):
        yield TextError(1, describe_element_count())
        return
    if excess := describe_token_excess(source):
        yield TextError(1, excess)
        return
    syntax_errors = [
        *_find_unclosed(source),
        *_find_unopened(source, html=html),
        *_find_unpaired_tags(source),
        *_find_invalid_tokens(source),
    ]
    if syntax_errors:
        yield from syntax_errors
        return
    if all(_output_variable(token.text) in notice.variable_names for token in find_tokens(source)):
        return  # as in nearly all texts; parsing one costs as much as rendering it
    try:
        template = parse(source, html=html)
    except (LiquidError, UnrenderableText):
        yield TextError(1, _("This contains an unknown placeholder."))
        return
    if not _has_known_words_only(source, notice):
        yield from _find_unknown_variables(source, template, notice)


def describe_token_excess(source: str) -> str:
    """Return the error of a text with more placeholders or filters than a part may have; an empty string without one."""
    braces = (("{{", "{%"), ("}}", "%}"))
    if any(source.count(output) + source.count(tag) > TOKEN_LIMIT for output, tag in braces):
        return describe_placeholder_count()
    if sum(token.text.count("|") for token in find_tokens(source)) > FILTER_LIMIT:
        return str(_("This has more than %(limit)s filters; remove some.", limit=FILTER_LIMIT))
    return ""


def _find_unclosed(source: str) -> Iterator[TextError]:
    """Find tokens without closing braces."""
    for one in find_unclosed(source):
        sentence = _(
            "a %(opening)s is not closed; write %(closing)s where it ends.",
            opening=one.opening,
            closing=one.closing,
        )
        yield TextError(one.line, sentence)


def _find_unopened(source: str, *, html: bool) -> Iterator[TextError]:
    """Find closing braces that close nothing. Those of styles are not meant."""
    masked = mask(source, html=html)
    line, counted = 1, 0
    for match in re.finditer(r"\}\}|%\}", masked):
        line += masked.count("\n", counted, match.start())
        counted = match.start()
        opening = {"}}": "{{", "%}": "{%"}[match.group()]
        sentence = _(
            "a %(closing)s closes nothing; write %(opening)s where it begins.",
            closing=match.group(),
            opening=opening,
        )
        yield TextError(line, sentence)


def _find_unpaired_tags(source: str) -> Iterator[TextError]:
    """Find unknown tags, blocks that are not closed, and tags that stand outside of their block."""
    opened: list[tuple[str, int]] = []
    for token in find_tokens(source):
        tag = _TAG_NAME.match(token.text)
        if tag is None:
            continue
        name, line = tag.group(1), token.line
        innermost = opened[-1][0] if opened else ""
        if name in _BLOCKS:
            opened.append((name, line))
        elif name in _BRANCHES:
            if innermost not in _BRANCHES[name]:
                sentence = _("%(tag)s is outside of the condition it belongs to.", tag=_tag(name))
                yield TextError(line, sentence)
        elif name.startswith("end") and name[3:] in _BLOCKS:
            if innermost == name[3:]:
                opened.pop()
            else:
                sentence = _(
                    "%(tag)s closes nothing; remove it, or write %(opening)s before it.",
                    tag=_tag(name),
                    opening=_tag(f"{name[3:]} …"),
                )
                yield TextError(line, sentence)
        elif name not in TAGS:
            sentence = _(
                "%(tag)s is not a command that exists here. There are: %(known)s.",
                tag=_tag(shorten(name) or "…"),
                known=", ".join(TAGS),
            )
            yield TextError(line, sentence)
    for name, line in opened:
        sentence = _(
            "%(tag)s is not closed; write %(end)s where it ends.", tag=_tag(name), end=_tag(f"end{name}")
        )
        yield TextError(line, sentence)


def _tag(words: str) -> str:
    return f"{{% {words} %}}"


def _find_invalid_tokens(source: str) -> Iterator[TextError]:
    """Find unknown filters and tokens that Liquid cannot parse. Each is parsed alone, so that its line is known."""
    for token in find_tokens(source):
        sentences = describe_invalid(token.text)
        yield from (TextError(token.line, sentence) for sentence in sentences)


def describe_invalid(token: str) -> tuple[str, ...]:
    """Return a sentence for each error in one token."""
    return () if _output_variable(token) else _describe_invalid(token, str(get_locale()))


@lru_cache(maxsize=2048)  # a text repeats few tokens often, and is validated at every preview
def _describe_invalid(token: str, _locale: str) -> tuple[str, ...]:
    if len(token) > TOKEN_LIMIT_CHARS:
        sentence = _(
            "“%(token)s” is longer than %(limit)s characters; shorten it.",
            token=shorten(token),
            limit=TOKEN_LIMIT_CHARS,
        )
        return (sentence,)
    unknown = [name for name in _filters_of(token) if name not in FILTERS]
    known = ", ".join(FILTERS)
    sentences = [
        _("there is no filter “%(name)s”. There are: %(known)s.", name=shorten(name), known=known)
        for name in unknown
    ]
    try:
        parse_token("" if unknown else _as_template(token))
    except (LiquidError, UnrenderableText):
        is_tag = token.startswith("{%")
        example = "{% if last_name %} … {% endif %}" if is_tag else "{{ first_name }}"
        sentence = (
            _(
                "“%(token)s” is not understood. A condition is written %(example)s.",
                token=shorten(token),
                example=example,
            )
            if is_tag
            else _(
                "“%(token)s” is not understood. A variable is written %(example)s.",
                token=shorten(token),
                example=example,
            )
        )
        sentences.append(sentence)
    return tuple(sentences)


def _as_template(token: str) -> str:
    """Return a template with only this token; an empty one for a tag that cannot stand alone, such as ``else``."""
    tag = _TAG_NAME.match(token)
    if tag is None or tag.group(1) == "assign":
        return token
    return f"{token}{{% end{tag.group(1)} %}}" if tag.group(1) in _BLOCKS else ""


@lru_cache(maxsize=2048)
def _output_variable(token: str) -> str:
    """Return the variable of a valid output in the form that nearly all have, which is not parsed; "" for another token."""
    plain = _PLAIN_OUTPUT.fullmatch(token) if len(token) <= TOKEN_LIMIT_CHARS else None
    if plain is None or plain[1] not in _all_variables():
        return ""
    return plain[1] if all(name in FILTERS for name in _filters_of(token)) else ""


@cache
def _all_variables() -> frozenset[str]:
    """Return the variables of all notices. Other names can be words of the language, such as ``in``."""
    return frozenset().union(*(notice.variable_names for notice in CATALOGUE.values()))


def _filters_of(token: str) -> list[str]:
    return _FILTER_NAME.findall(_STRING_LITERAL.sub("''", token))


def _has_known_words_only(source: str, notice: Notice) -> bool:
    """Return whether each word in the tokens of a valid text is a variable, a tag or a filter, so that none can be unknown.

    The analysis of a template, which is left out then, costs more than parsing it.
    """
    words: set[str] = set()
    for token in find_tokens(source):
        plain = _FILTER_NAME.sub("|", _STRING_LITERAL.sub("", _TAG_NAME.sub("", token.text, count=1)))
        if "." in plain or "[" in plain:
            return False
        words.update(_WORD.findall(plain))
    return words <= notice.variable_names


def _find_unknown_variables(source: str, template: BoundTemplate, notice: Notice) -> Iterator[TextError]:
    known = notice.variable_names
    for name, places in template.analyze().globals.items():
        if name in known and all(len(place.segments) == 1 for place in places):
            continue
        line = source.count("\n", 0, places[0].span.index) + 1
        if name not in known:
            dotted = ".".join(str(one) for one in places[0].segments)
            sentence = _("there is no variable “%(name)s” in this email.", name=shorten(dotted))
            yield TextError(line, sentence, unknown=dotted)
        else:
            sentence = _(
                "“%(name)s” is a plain value and has no parts; write %(variable)s.",
                name=name,
                variable=f"{{{{ {name} }}}}",
            )
            yield TextError(line, sentence)


def shorten(text: str, limit_chars: int = _QUOTED_LIMIT_CHARS) -> str:
    """Return the beginning of a text as one line."""
    text = " ".join(text[: 10 * limit_chars].split())
    return text if len(text) <= limit_chars else text[: limit_chars - 1] + "…"


def describe_placeholder_count() -> str:
    """Return the error of a text with more placeholders than a part may have."""
    return str(_("This has more than %(limit)s placeholders; remove some.", limit=f"{TOKEN_LIMIT:,}"))


def describe_element_count() -> str:
    """Return the error of a text with more HTML elements than an email may have."""
    return str(
        _("This has more than %(limit)s elements; remove some.", limit=f"{sanitize.SOURCE_ELEMENT_LIMIT:,}")
    )


def describe_length(length: int, *, converted: bool = False, as_html: bool = False) -> str:
    """Return the sentence about a part that is too long."""
    sizes = {"limit": f"{SOURCE_LIMIT_CHARS:,}", "length": f"{length:,}"}
    if as_html:
        return str(_("Shorten this to %(limit)s characters; as HTML it has %(length)s.", **sizes))
    if converted:
        return str(
            _(
                "Shorten this to %(limit)s characters; with LeadDyno’s placeholders converted it has %(length)s.",
                **sizes,
            )
        )
    return str(_("Shorten this to %(limit)s characters; it has %(length)s.", **sizes))
