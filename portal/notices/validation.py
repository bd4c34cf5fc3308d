"""Validation of an owner's text: one sentence for each error, with its line, shown beside the field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from liquid.exceptions import LiquidError

from . import leaddyno, rendering, sanitize
from .liquid import FILTERS, SOURCE_LIMIT_CHARS, TAGS, TOKEN, UnrenderableText, parse
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from liquid import BoundTemplate

    from ..accounts.models import Account
    from .catalogue import Notice

SUBJECT_LIMIT_CHARS = 200
_ERRORS_SHOWN = 5  # at most, for each field
_QUOTED_LIMIT_CHARS = 40  # of a token that an error quotes
_TAG_NAME = re.compile(r"\{%-?\s*(\w*)")
_FILTER_NAME = re.compile(r"\|\s*(\w+)")
_STRING_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"")
_BLOCKS = {"if", "unless", "case"}
_BRANCHES = {"else": _BLOCKS, "elsif": {"if", "unless"}, "when": {"case"}}  # the blocks each may stand in


@dataclass(frozen=True)
class TextError:
    """One error in a text. ``line`` counts from 1."""

    line: int
    sentence: str


@dataclass(frozen=True)
class ValidText:
    """A text that can be saved, with the placeholders that were converted and descriptions of what was removed."""

    text: Text
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
        source = rendering.clean_lines(getattr(entered, name)).strip()
        source, conversions, unknown = leaddyno.convert(source, notice, html=name == "html")
        converted |= {f"{one.old}{one.new}": one for one in conversions}
        found = [_unknown_placeholder_error(one) for one in unknown]
        found += find_errors(source, notice, html=name == "html")
        errors[name] = _format_errors(sorted(found, key=lambda error: error.line), name)
        parts[name] = source
    _validate_subject(parts["subject"], errors["subject"])
    html, removed = _sanitize_html(parts["html"], errors["html"])
    if any(errors.values()):
        raise InvalidText({name: sentences for name, sentences in errors.items() if sentences})
    text = Text(parts["subject"], html, parts["text"])
    _check_rendering(notice, account, text)
    return ValidText(text, tuple(converted.values()), tuple(removed))


def find_errors(source: str, notice: Notice, *, html: bool) -> Iterator[TextError]:
    """Yield the errors of one part of a text. The checks of variables need a source without other errors."""
    if len(source) > SOURCE_LIMIT_CHARS:
        yield TextError(1, f"Shorten this to {SOURCE_LIMIT_CHARS:,} characters; it has {len(source):,}.")
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
    rest = TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)
    for opening, closing in (("{{", "}}"), ("{%", "%}")):
        for match in re.finditer(re.escape(opening), rest):
            yield TextError(
                _line_of(rest, match.start()), f"a {opening} is not closed; write {closing} where it ends."
            )


def _find_unpaired_tags(source: str) -> Iterator[TextError]:
    """Find unknown tags, blocks that are not closed, and tags that stand outside of their block."""
    opened: list[tuple[str, int]] = []
    for match in TOKEN.finditer(source):
        tag = _TAG_NAME.match(match.group())
        if tag is None:
            continue
        name, line = tag.group(1), _line_of(source, match.start())
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
                line, f"{{% {name or '…'} %}} is not a command that exists here. There are: {known}."
            )
    for name, line in opened:
        yield TextError(line, f"{{% {name} %}} is not closed; write {{% end{name} %}} where it ends.")


def _find_invalid_tokens(source: str) -> Iterator[TextError]:
    """Find unknown filters and tokens that Liquid cannot parse. Each is parsed alone, so that its line is known."""
    for match in TOKEN.finditer(source):
        token, line = match.group(), _line_of(source, match.start())
        names = _FILTER_NAME.findall(_STRING_LITERAL.sub("''", token))
        unknown = [name for name in names if name not in FILTERS]
        for name in unknown:
            yield TextError(line, f"there is no filter “{name}”. There are: {', '.join(FILTERS)}.")
        template = "" if unknown else _as_template(token)
        try:
            parse(template, html=False)
        except (LiquidError, UnrenderableText):
            sentence = f"“{_shorten(token)}” is not understood. A variable is written {{{{ first_name }}}}."
            yield TextError(line, sentence)


def _as_template(token: str) -> str:
    """Return a template with only this token; an empty one for a tag that cannot stand alone, such as ``else``."""
    tag = _TAG_NAME.match(token)
    if tag is None or tag.group(1) == "assign":
        return token
    return f"{token}{{% end{tag.group(1)} %}}" if tag.group(1) in _BLOCKS else ""


def _find_unknown_variables(source: str, template: BoundTemplate, notice: Notice) -> Iterator[TextError]:
    known = {variable.name for variable in notice.variables}
    for name, places in template.analyze().globals.items():
        line = _line_of(source, places[0].span.index)
        if name not in known:
            hint = _suggest(leaddyno.nearest_variable(str(name), notice))
            yield TextError(line, f"there is no variable “{name}” in this email.{hint}")
        elif any(len(place.segments) > 1 for place in places):
            yield TextError(line, f"“{name}” is a plain value and has no parts; write {{{{ {name} }}}}.")


def _unknown_placeholder_error(unknown: leaddyno.UnknownPlaceholder) -> TextError:
    hint = _suggest(unknown.nearest)
    return TextError(unknown.line, f"{unknown.placeholder} stands for nothing in this email.{hint}")


def _suggest(variable: str) -> str:
    return f" Did you mean {{{{ {variable} }}}}?" if variable else " Take one from the list beside."


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


def _check_rendering(notice: Notice, account: Account, text: Text) -> None:
    """Render the text with sample values, so that only a text that can be sent is saved. Raises InvalidText."""
    try:
        rendering.render_sample(notice, account, text=text)
    except UnrenderableText as error:
        raise InvalidText({"html": [f"This cannot be sent. {error}"]}) from None


def _format_errors(errors: list[TextError], name: str) -> list[str]:
    shown = [
        f"{error.sentence[0].upper()}{error.sentence[1:]}"
        if name == "subject"
        else f"Line {error.line}: {error.sentence}"
        for error in errors[:_ERRORS_SHOWN]
    ]
    more = len(errors) - len(shown)
    return [*shown, f"And {more} more like these."] if more else shown


def _shorten(token: str) -> str:
    text = " ".join(token.split())
    return text if len(text) <= _QUOTED_LIMIT_CHARS else text[: _QUOTED_LIMIT_CHARS - 1] + "…"


def _line_of(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1
