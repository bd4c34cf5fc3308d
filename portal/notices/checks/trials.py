"""Trials of a text with values that real affiliates have and samples do not: what would leave wrongly, and for whom."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from .. import rendering
from ..catalogue import VariableType
from ..liquid import UnrenderableText, find_tokens
from .subjects import is_invisible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...accounts.models import Account
    from ..catalogue import Notice
    from ..texts import Text

CLIP_LIMIT_BYTES = (
    100_000  # of the HTML; Gmail cuts off at 102 kB, and providers add some bytes for their own links
)
_PEOPLE = {"name", "first_name", "affiliate_name", "owner_name", "invited_by", "lead_name"}
_ONE_WORD, _RIGHT_TO_LEFT, _LONG = (
    "Madonna",
    "שרה לוי",
    "Wolfeschlegelsteinhausenbergerdorff Hubert Blaine of Clackmann",
)
_WORD_LIMIT_CHARS = 20  # shown before a gap
_GAP = re.compile(r"[\s(“\"](?:(?<=\s)[,.!?;:](?=\s|\Z)|(?<=\()\s?\)|(?<=“)\s?”|(?<=\")\s?\")")
_WORD_AND_GAP = re.compile(rf"\S{{0,{_WORD_LIMIT_CHARS}}}{_GAP.pattern}")
_LINK_START = re.compile(r"<a(?=[ >])[^<>]*+>")


@dataclass(frozen=True)
class Trial:
    """Values that replace samples, and the affiliates who have such values, as words after “for”."""

    values: Mapping[str, str]
    affected: str


@dataclass(frozen=True)
class Findings:
    """What the trials found: errors by field, because the email would not leave, and warnings."""

    errors: Mapping[str, list[str]]
    warnings: tuple[str, ...]


def trials_of(notice: Notice) -> list[Trial]:
    """Return the trials of a notice: without optional values, with long names from right to left, and with zero amounts."""
    empty = {one.name: "" for one in notice.variables if one.optional}
    people = {one.name for one in notice.variables if one.name in _PEOPLE}
    numbers = {
        one.name: "0.00" if one.type is VariableType.AMOUNT else "0"
        for one in notice.variables
        if one.type in (VariableType.AMOUNT, VariableType.NUMBER)
    }
    words = {one.name for one in notice.variables if one.name in people | {"last_name", "product", "reason"}}
    found = [
        Trial({**dict.fromkeys(people, _ONE_WORD), **empty}, _("recipients without optional values")),
        Trial(dict.fromkeys(words, _LONG), _("names of 60 letters that are written from right to left")),
        Trial(numbers, _("amounts and counts of zero")),
    ]
    return [one for one in found if one.values]


def run(notice: Notice, account: Account, text: Text, sample: rendering.RenderedEmail) -> Findings:
    """Render a text that is valid with sample values with the values of all trials, and compare with that sample."""
    errors: dict[str, list[str]] = {}
    warnings: list[str] = []
    largest = len(sample.html.encode())
    sample_links, sample_gaps = _count_empty_links(sample.html), _find_gaps(sample)
    used = {
        name
        for part in (text.subject, text.html, text.text)
        for token in find_tokens(part)
        for name in re.findall(r"\w+", token.text)
    }
    if is_invisible(rendering.render_subject(notice, rendering.sample_values(notice, account), text)):
        errors["subject"] = [_("With sample values, the subject is empty. Add words that are always there.")]
    for trial in trials_of(notice):
        if used.isdisjoint(trial.values):
            continue  # it would be the sample again
        values = rendering.sample_values(notice, account) | dict(trial.values)
        try:
            if is_invisible(rendering.render_subject(notice, values, text)):
                errors.setdefault("subject", []).append(_describe_empty_subject(text.subject, notice, trial))
                continue
            mail = rendering.render_sample(notice, account, values=trial.values, text=text)
        except UnrenderableText as error:
            sentence = _("For %(affected)s, this cannot be sent.", affected=trial.affected)
            errors.setdefault("html", []).append(f"{sentence} {error}")
            continue
        largest = max(largest, len(mail.html.encode()))
        gaps = _find_gaps(mail)
        if len(gaps) > len(sample_gaps):  # some languages have a space before each colon
            new = Counter(gaps) - Counter(sample_gaps)
            gap = next(one for one in gaps if one in new)
            warnings.append(_describe_gap(gap, trial, text, notice))
        if _count_empty_links(mail.html) > sample_links:
            warnings.append(
                _(
                    "For %(affected)s, a link has no address. Put a condition around it: %(condition)s.",
                    affected=trial.affected,
                    condition=_condition(text, notice),
                )
            )
    if largest >= CLIP_LIMIT_BYTES:
        warnings.append(
            _(
                "With its layout, this email has %(size)s kB. Gmail cuts off an email at 102 kB, with its footer and the links "
                "in it. Shorten it.",
                size=f"{largest // 1000:,}",
            )
        )
    return Findings(
        {name: sentences[:3] for name, sentences in errors.items()}, tuple(dict.fromkeys(warnings))
    )


def _describe_empty_subject(subject: str, notice: Notice, trial: Trial) -> str:
    used = _used_optional(subject, notice)
    affected = (
        _("recipients without %(variable)s", variable=f"{{{{ {used} }}}}")
        if used and not all(trial.values.values())
        else trial.affected
    )
    return str(
        _(
            "For %(affected)s, the subject is empty, and an email without a subject does not leave. Add words "
            "that are always there.",
            affected=affected,
        )
    )


def _describe_gap(gap: str, trial: Trial, text: Text, notice: Notice) -> str:
    used = _used_optional(f"{text.subject}\n{text.html}\n{text.text}", notice)
    sentence = _("For %(affected)s, a sentence has a gap: “%(gap)s”.", affected=trial.affected, gap=gap)
    if not used:
        return str(sentence)
    example = f"{{{{ {used} | default: 'friend' }}}}"
    return f"{sentence} {_('Give it something to fall back on: %(example)s.', example=example)}"


def _condition(text: Text, notice: Notice) -> str:
    name = _used_optional(text.html, notice) or "reply_to"
    return f"{{% if {name} %}} … {{% endif %}}"


def _used_optional(source: str, notice: Notice) -> str:
    """Return the first optional variable that a source uses, or an empty string."""
    optional = {one.name for one in notice.variables if one.optional}
    names = (name for token in find_tokens(source) for name in re.findall(r"\w+", token.text))
    return next((name for name in names if name in optional), "")


def _find_gaps(mail: rendering.RenderedEmail) -> list[str]:
    return [" ".join(gap.split()) for part in (mail.subject, mail.text) for gap in _read_gaps(part)]


def _read_gaps(text: str) -> Iterator[str]:
    """Yield each gap with the end of the word before it, which is looked for only where a gap is."""
    at = 0
    while (gap := _GAP.search(text, at)) is not None:
        before = text[max(at, gap.start() - _WORD_LIMIT_CHARS) : gap.start()]
        word = "" if not before or before[-1].isspace() else before.split()[-1]
        found = _WORD_AND_GAP.match(text, gap.start() - len(word)) or gap
        yield found.group()
        at = found.end()


def _count_empty_links(html: str) -> int:
    """Count links without an address in the HTML of an email, which escapes ``>`` within its attributes."""
    return sum(' href="' not in start for start in _LINK_START.findall(html))
