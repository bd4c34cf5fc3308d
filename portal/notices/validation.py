"""Judging what an owner wrote: each mistake in plain words, with its line, beside its field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from liquid.exceptions import LiquidError

from . import leaddyno, rendering, sanitize
from .liquid import FILTERS, SOURCE_LIMIT, TAGS, UnrenderableText, parse
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from liquid import BoundTemplate

    from ..accounts.models import Account
    from .catalogue import Notice

SUBJECT_LIMIT = 200  # characters
_TOKEN = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_TAG = re.compile(r"\{%-?\s*(\w*)")
_FILTER = re.compile(r"\|\s*(\w+)")
_BLOCKS = {"if", "unless", "case"}
_MIDDLES = {"else": _BLOCKS, "elsif": {"if", "unless"}, "when": {"case"}}
_AT_MOST_SHOWN = 5


@dataclass(frozen=True)
class TextError:
    """One mistake. ``line`` counts from 1."""

    line: int
    sentence: str


@dataclass(frozen=True)
class ValidText:
    """A text that may be saved, and what was changed on the way."""

    text: Text
    converted: tuple[leaddyno.Conversion, ...] = ()
    removed: tuple[str, ...] = ()


class InvalidText(Exception):
    """The text may not be saved: its sentences by field (subject, html, text)."""

    def __init__(self, by_field: Mapping[str, list[str]]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


def validate(notice: Notice, account: Account, typed: Text) -> ValidText:
    """Return the text as it may be saved. Raises InvalidText."""
    faults: dict[str, list[str]] = {}
    converted: dict[str, leaddyno.Conversion] = {}
    parts: dict[str, str] = {}
    for name in ("subject", "html", "text"):
        source = rendering.clean_lines(getattr(typed, name)).strip()
        source, done, unknown = leaddyno.convert(source, notice, html=name == "html")
        converted |= {f"{one.old}{one.new}": one for one in done}
        found = [_strange_spelling(one) for one in unknown]
        found += list(find_errors(source, notice, html=name == "html"))
        faults[name] = _sentences(sorted(found, key=lambda fault: fault.line), name)
        parts[name] = source
    _judge_subject(parts["subject"], faults)
    cleaned, removed = _clean_html(parts["html"], faults)
    if any(faults.values()):
        raise InvalidText({name: sentences for name, sentences in faults.items() if sentences})
    text = Text(parts["subject"], cleaned, parts["text"])
    _try(notice, account, text)
    return ValidText(text, tuple(converted.values()), tuple(removed))


def find_errors(source: str, notice: Notice, *, html: bool) -> Iterator[TextError]:
    """Yield the mistakes of one part."""
    if len(source) > SOURCE_LIMIT:
        yield TextError(1, f"Shorten this to {SOURCE_LIMIT:,} characters; it has {len(source):,}.")
        return
    wrong = [*_unclosed(source), *_unpaired(source), *_misspelt(source)]
    if wrong:
        yield from wrong
        return
    try:
        template = parse(source, html=html)
    except (LiquidError, UnrenderableText):
        yield TextError(1, "This holds a placeholder that is not understood.")
        return
    yield from _unknown_names(source, template, notice)


def _unclosed(source: str) -> Iterator[TextError]:
    rest = _TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source)
    for opening, closing in (("{{", "}}"), ("{%", "%}")):
        for match in re.finditer(re.escape(opening), rest):
            yield TextError(
                _line(rest, match.start()), f"a {opening} is not closed; write {closing} where it ends."
            )


def _unpaired(source: str) -> Iterator[TextError]:
    """Find tags that do not exist, that are not closed, and that close nothing."""
    opened: list[tuple[str, int]] = []
    for match in _TOKEN.finditer(source):
        tag = _TAG.match(match.group())
        if tag is None:
            continue
        name, line = tag.group(1), _line(source, match.start())
        if name in _BLOCKS:
            opened.append((name, line))
        elif name in _MIDDLES:
            if not opened or opened[-1][0] not in _MIDDLES[name]:
                yield TextError(line, f"{{% {name} %}} stands outside of the condition it belongs to.")
        elif name.startswith("end") and name[3:] in _BLOCKS:
            if not opened or opened[-1][0] != name[3:]:
                yield TextError(
                    line,
                    f"{{% {name} %}} closes nothing; remove it, or write {{% {name[3:]} … %}} before it.",
                )
            else:
                opened.pop()
        elif name not in TAGS:
            known = ", ".join(TAGS)
            yield TextError(
                line, f"{{% {name or '…'} %}} is not a command that exists here. There are: {known}."
            )
    for name, line in opened:
        yield TextError(line, f"{{% {name} %}} is not closed; write {{% end{name} %}} where it ends.")


def _misspelt(source: str) -> Iterator[TextError]:
    """Find placeholders that cannot be read, each by itself, so that its line is known."""
    for match in _TOKEN.finditer(source):
        token, line = match.group(), _line(source, match.start())
        unknown = [name for name in _FILTER.findall(_unquoted(token)) if name not in FILTERS]
        for name in unknown:
            yield TextError(line, f"there is no filter “{name}”. There are: {', '.join(FILTERS)}.")
        if unknown or not _is_alone(token):
            continue
        try:
            parse(_alone(token), html=False)
        except (LiquidError, UnrenderableText):
            said = " ".join(token.split())
            shown = said if len(said) <= 40 else said[:39] + "…"
            yield TextError(line, f"“{shown}” is not understood. A variable is written {{{{ first_name }}}}.")


def _unknown_names(source: str, template: BoundTemplate, notice: Notice) -> Iterator[TextError]:
    known = {variable.name for variable in notice.variables}
    for name, places in template.analyze().globals.items():
        line = _line(source, places[0].span.index)
        if name not in known:
            near = leaddyno.nearest_variable(str(name), notice)
            offer = f" Did you mean {{{{ {near} }}}}?" if near else " Take one from the list beside."
            yield TextError(line, f"there is no variable “{name}” in this email.{offer}")
        elif any(len(place.segments) > 1 for place in places):
            yield TextError(line, f"“{name}” is a plain value and has no parts; write {{{{ {name} }}}}.")


def _strange_spelling(one: leaddyno.UnknownPlaceholder) -> TextError:
    offer = f" Did you mean {{{{ {one.nearest} }}}}?" if one.nearest else " Take one from the list beside."
    return TextError(one.line, f"{one.spelling} stands for nothing in this email.{offer}")


def _judge_subject(subject: str, faults: dict[str, list[str]]) -> None:
    said = faults["subject"]
    if not subject:
        said.append("Enter a subject.")
    elif "\n" in subject:
        said.append("Write the subject in one line.")
    elif "join_link" in subject:
        said.append(
            "Put the link into the text: subjects are shown in lists, and whoever has it could use it."
        )
    elif len(subject) > SUBJECT_LIMIT:
        said.append(f"Shorten the subject to {SUBJECT_LIMIT} characters; inboxes show about 60.")


def _clean_html(html: str, faults: dict[str, list[str]]) -> tuple[str, list[str]]:
    if faults["html"]:
        return html, []
    try:
        cleaned, removed = sanitize.sanitize_source(html)
    except sanitize.MisplacedTag as misplaced:
        faults["html"].append(f"Line {_line(html, misplaced.index)}: {misplaced}")
        return html, []
    cleaned = cleaned.strip()
    if not cleaned:
        faults["html"].append("Write the email: nothing of this can be shown.")
    return cleaned, removed


def _try(notice: Notice, account: Account, text: Text) -> None:
    """Render it once, so that nothing is saved that could not be sent."""
    try:
        rendering.render_sample(notice, account, text=text)
    except UnrenderableText as refused:
        raise InvalidText({"html": [f"This cannot be sent. {refused}"]}) from None


def _sentences(faults: list[TextError], name: str) -> list[str]:
    shown = [
        f"{fault.sentence[0].upper()}{fault.sentence[1:]}"
        if name == "subject"
        else f"Line {fault.line}: {fault.sentence}"
        for fault in faults[:_AT_MOST_SHOWN]
    ]
    more = len(faults) - len(shown)
    return [*shown, f"And {more} more like these."] if more else shown


def _is_alone(token: str) -> bool:
    tag = _TAG.match(token)
    return tag is None or tag.group(1) in (*_BLOCKS, "assign")


def _alone(token: str) -> str:
    tag = _TAG.match(token)
    name = tag.group(1) if tag else ""
    return f"{token}{{% end{name} %}}" if name in _BLOCKS else token


def _unquoted(token: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", token)


def _line(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1
