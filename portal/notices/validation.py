"""Validation of an owner's text: one sentence for each error, with its line, shown beside the field."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from liquid.exceptions import LiquidError

from . import leaddyno, rendering, sanitize
from .liquid import (
    FILTERS,
    SOURCE_LIMIT_CHARS,
    TAGS,
    TOKEN_LIMIT_CHARS,
    UnrenderableText,
    find_tokens,
    find_unclosed,
    parse,
    parse_token,
)
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from liquid import BoundTemplate

    from ..accounts.models import Account
    from .catalogue import Notice

SUBJECT_LIMIT_CHARS = 200
_REMOVED_SHOWN = 10  # of what the sanitiser removed
_REMOVED_LIMIT_CHARS = 100  # of the description of each
_ERRORS_SHOWN = 5  # at most, for each field
TOKEN_LIMIT = 500  # placeholders and tags of one part; each costs time at every preview
_QUOTED_LIMIT_CHARS = 40  # of a token that an error quotes
_TAG_NAME = re.compile(r"\{%-?\s*(\w*)")
_FILTER_NAME = re.compile(r"\|\s*(\w+)")
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


@dataclass(frozen=True)
class ValidText:
    """A text that can be saved, and the email it makes with sample values.

    With the placeholders that were converted and descriptions of what was removed.
    """

    text: Text
    sample: rendering.RenderedEmail
    converted: tuple[leaddyno.Conversion, ...] = ()
    removed: tuple[str, ...] = ()


class InvalidText(Exception):
    """The text cannot be saved. Holds sentences by field (subject, html, text)."""

    def __init__(self, by_field: Mapping[str, list[str]]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


def validate(notice: Notice, account: Account, entered: Text) -> ValidText:
    """Return the text in the form to save: converted and sanitised. Raises InvalidText."""
    errors: dict[str, list[str]] = {}
    converted: dict[str, leaddyno.Conversion] = {}
    parts: dict[str, str] = {}
    for name in ("subject", "html", "text"):
        entered_part = getattr(entered, name)
        if len(entered_part) > SOURCE_LIMIT_CHARS:  # before anything else reads it
            parts[name], errors[name] = entered_part, [_describe_length(len(entered_part))]
            continue
        source = rendering.clean_lines(entered_part).strip()
        source, conversions, unknown = leaddyno.convert(source, notice, html=name == "html")
        converted |= {f"{one.old}{one.new}": one for one in conversions}
        found = [_unknown_placeholder_error(one) for one in unknown]
        found += find_errors(source, notice, html=name == "html")
        errors[name] = _format_errors(sorted(found, key=lambda error: error.line), name, notice)
        parts[name] = source
    _validate_subject(parts["subject"], errors["subject"])
    html, removed = _sanitize_html(parts["html"], errors["html"])
    if any(errors.values()):
        raise InvalidText({name: sentences for name, sentences in errors.items() if sentences})
    text = Text(parts["subject"], html, parts["text"])
    sample = _render_sample(notice, account, text)
    return ValidText(text, sample, tuple(converted.values()), tuple(_shorten_list(removed)))


def find_errors(source: str, notice: Notice, *, html: bool) -> Iterator[TextError]:
    """Yield the errors of one part of a text. The checks of variables need a source without other errors."""
    if len(source) > SOURCE_LIMIT_CHARS:
        yield TextError(1, _describe_length(len(source), converted=True))
        return
    if source.count("<") > sanitize.TAG_LIMIT:
        yield TextError(1, f"This has more than {sanitize.ELEMENT_LIMIT:,} elements; remove some.")
        return
    if source.count("{{") + source.count("{%") > TOKEN_LIMIT:
        yield TextError(1, f"This has more than {TOKEN_LIMIT:,} placeholders; remove some.")
        return
    syntax_errors = [*_find_unclosed(source), *_find_unpaired_tags(source), *_find_invalid_tokens(source)]
    if syntax_errors:
        yield from syntax_errors
        return
    try:
        template = parse(source, html=html)
    except (LiquidError, UnrenderableText):
        yield TextError(1, "This holds a placeholder that is not understood.")
        return
    yield from _find_unknown_variables(source, template, notice)


def _find_unclosed(source: str) -> Iterator[TextError]:
    """Find tokens without closing braces."""
    for one in find_unclosed(source):
        yield TextError(one.line, f"a {one.opening} is not closed; write {one.closing} where it ends.")


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
                yield TextError(line, f"{{% {name} %}} stands outside of the condition it belongs to.")
        elif name.startswith("end") and name[3:] in _BLOCKS:
            if innermost == name[3:]:
                opened.pop()
            else:
                sentence = (
                    f"{{% {name} %}} closes nothing; remove it, or write {{% {name[3:]} … %}} before it."
                )
                yield TextError(line, sentence)
        elif name not in TAGS:
            known = ", ".join(TAGS)
            yield TextError(
                line,
                f"{{% {_shorten(name) or '…'} %}} is not a command that exists here. There are: {known}.",
            )
    for name, line in opened:
        yield TextError(line, f"{{% {name} %}} is not closed; write {{% end{name} %}} where it ends.")


def _find_invalid_tokens(source: str) -> Iterator[TextError]:
    """Find unknown filters and tokens that Liquid cannot parse. Each is parsed alone, so that its line is known."""
    for token in find_tokens(source):
        sentences = _describe_invalid(token.text)
        yield from (TextError(token.line, sentence) for sentence in sentences)


@lru_cache(maxsize=2048)  # a text repeats few tokens often, and is validated at every preview
def _describe_invalid(token: str) -> tuple[str, ...]:
    """Return a sentence for each error in one token."""
    if len(token) > TOKEN_LIMIT_CHARS:
        return (f"“{_shorten(token)}” is longer than {TOKEN_LIMIT_CHARS} characters; shorten it.",)
    names = _FILTER_NAME.findall(_STRING_LITERAL.sub("''", token))
    unknown = [name for name in names if name not in FILTERS]
    known = ", ".join(FILTERS)
    sentences = [f"there is no filter “{_shorten(name)}”. There are: {known}." for name in unknown]
    try:
        parse_token("" if unknown else _as_template(token))
    except (LiquidError, UnrenderableText):
        sentences.append(
            f"“{_shorten(token)}” is not understood. A variable is written {{{{ first_name }}}}."
        )
    return tuple(sentences)


def _as_template(token: str) -> str:
    """Return a template with only this token; an empty one for a tag that cannot stand alone, such as ``else``."""
    tag = _TAG_NAME.match(token)
    if tag is None or tag.group(1) == "assign":
        return token
    return f"{token}{{% end{tag.group(1)} %}}" if tag.group(1) in _BLOCKS else ""


def _find_unknown_variables(source: str, template: BoundTemplate, notice: Notice) -> Iterator[TextError]:
    known = {variable.name for variable in notice.variables}
    line_ends = [index for index, character in enumerate(source) if character == "\n"]
    for name, places in template.analyze().globals.items():
        line = bisect_left(line_ends, places[0].span.index) + 1
        if name not in known:
            sentence = f"there is no variable “{_shorten(str(name))}” in this email."
            yield TextError(line, sentence, unknown=str(name))
        elif any(len(place.segments) > 1 for place in places):
            yield TextError(line, f"“{name}” is a plain value and has no parts; write {{{{ {name} }}}}.")


def _unknown_placeholder_error(unknown: leaddyno.UnknownPlaceholder) -> TextError:
    sentence = f"{unknown.placeholder} stands for nothing in this email."
    return TextError(unknown.line, sentence, unknown=unknown.placeholder.strip("$"))


def _suggest(unknown: str, notice: Notice) -> str:
    variable = leaddyno.nearest_variable(unknown[:_QUOTED_LIMIT_CHARS], notice)
    return f" Did you mean {{{{ {variable} }}}}?" if variable else " Take one from the list beside."


def _describe_length(length: int, *, converted: bool = False) -> str:
    has = "with LeadDyno’s placeholders converted it has" if converted else "it has"
    return f"Shorten this to {SOURCE_LIMIT_CHARS:,} characters; {has} {length:,}."


def _validate_subject(subject: str, errors: list[str]) -> None:
    if not subject:
        errors.append("Enter a subject.")
    elif "\n" in subject:
        errors.append("Write the subject in one line.")
    elif "join_link" in subject:
        errors.append(
            "Put the link into the text: subjects are shown in lists, and whoever has it could use it."
        )
    elif len(subject) > SUBJECT_LIMIT_CHARS:
        errors.append(f"Shorten the subject to {SUBJECT_LIMIT_CHARS} characters; inboxes show about 60.")


def _sanitize_html(html: str, errors: list[str]) -> tuple[str, list[str]]:
    """Return sanitised HTML and what was removed. HTML that has errors already is returned unchanged."""
    if errors:
        return html, []
    try:
        sanitized, removed = sanitize.sanitize_source(html)
    except sanitize.MisplacedTag as error:
        errors.append(f"Line {_line_of(html, error.index)}: {error}")
        return html, []
    sanitized = sanitized.strip()
    if not sanitized:
        errors.append("Write the email: nothing of this can be shown.")
    return sanitized, removed


def _render_sample(notice: Notice, account: Account, text: Text) -> rendering.RenderedEmail:
    """Render the text with sample values, so that only a text that can be sent is saved. Raises InvalidText."""
    try:
        return rendering.render_sample(notice, account, text=text)
    except UnrenderableText as error:
        raise InvalidText({"html": [f"This cannot be sent. {error}"]}) from None


def _shorten_list(removed: list[str]) -> list[str]:
    shown = [_shorten(one, _REMOVED_LIMIT_CHARS) for one in removed[:_REMOVED_SHOWN]]
    more = len(removed) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _format_errors(errors: list[TextError], name: str, notice: Notice) -> list[str]:
    shown = []
    for error in errors[:_ERRORS_SHOWN]:
        sentence = error.sentence + (_suggest(error.unknown, notice) if error.unknown else "")
        in_line = (
            f"{sentence[0].upper()}{sentence[1:]}" if name == "subject" else f"Line {error.line}: {sentence}"
        )
        shown.append(in_line)
    more = len(errors) - len(shown)
    return [*shown, f"And {more} more like these."] if more else shown


def _shorten(text: str, limit_chars: int = _QUOTED_LIMIT_CHARS) -> str:
    text = " ".join(text[: 10 * limit_chars].split())
    return text if len(text) <= limit_chars else text[: limit_chars - 1] + "…"


def _line_of(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1
