"""Validation of an owner's text: errors with their line, shown beside the field, and warnings to answer before it is saved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import lazy_gettext, ngettext

from . import rendering, sanitize
from .catalogue import CONFIRM_SIGN_UP
from .checks import addresses, braces, foreign, formats, leaddyno, plain_lines, subjects, trials
from .checks.leaddyno import Conversion
from .checks.names import nearest_variable
from .checks.syntax import (
    TextError,
    describe_element_count,
    describe_length,
    describe_placeholder_count,
    describe_token_excess,
    find_errors,
    shorten,
)
from .liquid import SOURCE_LIMIT_CHARS, TOKEN_LIMIT, UnrenderableText
from .markup.html_tokens import Kind, read_tokens
from .markup.markdown import TooManyParts, markdown_to_html
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..accounts.models import Account
    from .catalogue import Notice
    from .markup.removals import Phrase, Removal

_REMOVED_SHOWN = 10  # of what the sanitiser removed
_REMOVED_LIMIT_CHARS = 100  # of the description of each
_ERRORS_SHOWN = 5  # at most, for each field
_WARNINGS_SHOWN = 12
_SUGGESTION_LIMIT_CHARS = 40  # of a name that is compared with variables
_PARTS = {
    "subject": lazy_gettext("Subject"),
    "html": lazy_gettext("Message"),
    "markdown": lazy_gettext("Message"),
    "text": lazy_gettext("Text version"),
}


@dataclass(frozen=True)
class ValidText:
    """A text that can be saved, and the email it makes with sample values.

    ``converted`` and ``repaired`` are the replacements made in it, ``removed`` describes what the sanitiser removed and why,
    and ``warnings`` state what would leave otherwise than meant.
    """

    text: Text
    sample: rendering.RenderedEmail
    converted: tuple[Conversion, ...] = ()
    repaired: tuple[Conversion, ...] = ()
    removed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def questions(self) -> tuple[str, ...]:
        """What an owner must accept before the text is saved."""
        return (*self.warnings, *self.removed)

    @property
    def digest(self) -> str:
        """A digest of the questions and the text, which an owner's answer refers to; empty without questions."""
        parts = (self.text.subject, self.text.html, self.text.text, self.text.markdown or "")
        content = "\0".join((*parts, *self.questions))
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:20] if self.questions else ""


class InvalidText(Exception):
    """The text cannot be saved. Holds sentences by field (subject, html or markdown, text)."""

    def __init__(self, by_field: Mapping[str, list[str]]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


@dataclass(frozen=True)
class _Part:
    """One part of a text with the placeholders converted and repaired, its errors and its warnings."""

    source: str
    errors: list[str]
    converted: tuple[Conversion, ...] = ()
    repaired: tuple[Conversion, ...] = ()
    warnings: tuple[str, ...] = ()


def validate(notice: Notice, account: Account, entered: Text, *, with_trials: bool = False) -> ValidText:
    """Return the text in the form to save: converted, repaired and sanitised. Raises InvalidText.

    ``with_trials`` also renders it with the values of unusual recipients, which takes up to four times as long.
    """
    body = "html" if entered.markdown is None else "markdown"
    parts = {name: _read_part(name, getattr(entered, name), notice) for name in ("subject", body, "text")}
    _validate_subject(parts["subject"].source, parts["subject"].errors)
    html, removed, internal = _sanitize_html(parts[body], notice, is_markdown=body == "markdown")
    _raise_errors({name: part.errors for name, part in parts.items()})
    markdown = parts[body].source if body == "markdown" else None
    text = Text(parts["subject"].source, html, parts["text"].source, markdown)
    sample = _render_sample(notice, account, text, body)
    _require_link(notice, account, sample)
    warnings = [one for part in parts.values() for one in part.warnings]
    warnings += map(_describe_internal_address, internal)
    if not text.text and not _has_words(html):
        warnings.append(
            _(
                "The plain text of this email is empty: describe its pictures (alt), or write the text version yourself."
            )
        )
    if with_trials:
        findings = trials.run(notice, account, text, sample)
        _raise_errors({body if name == "html" else name: found for name, found in findings.errors.items()})
        warnings += findings.warnings
    return ValidText(
        text,
        sample,
        tuple(dict.fromkeys(one for part in parts.values() for one in part.converted)),
        tuple(dict.fromkeys(one for part in parts.values() for one in part.repaired)),
        _describe_removals(removed),
        _limit(warnings, _WARNINGS_SHOWN),
    )


def _read_part(name: str, entered: str, notice: Notice) -> _Part:
    if len(entered) > SOURCE_LIMIT_CHARS:  # before anything else reads it
        return _Part(entered, [describe_length(len(entered))])
    if name == "subject" and len(entered) > subjects.READ_LIMIT_CHARS:
        return _Part(entered, [subjects.describe_length()])
    html = name == "html"
    source = rendering.clean_lines(entered).strip()
    if excess := describe_token_excess(source):
        return _Part(source, [excess])
    source, repaired = braces.repair(source, notice, html=html)
    source, conversions, unknown = leaddyno.convert(source, notice, html=html)
    placeholders = foreign.find_placeholders(source, notice, html=html)
    if max(len(unknown), len(placeholders)) > TOKEN_LIMIT:
        return _Part(source, [describe_placeholder_count()])
    found = [_unknown_placeholder_error(one) for one in unknown]
    found += find_errors(source, notice, html=html)
    warnings = _format_warnings(placeholders, name)
    if name == "markdown" and (tags := formats.find_html(source)):
        sentence = _(
            "%(tag)s is HTML, and recipients would see it as written. Write without HTML, or choose *Write "
            "in HTML* under *Advanced*.",
            tag=shorten(tags[0]),
        )
        warnings.append(f"{_PARTS[name]}: {sentence}")
    return _Part(
        source,
        _format_errors(sorted(found, key=lambda error: error.line), name, notice),
        tuple(conversions),
        tuple(Conversion(shorten(old), shorten(new)) for old, new in repaired),
        tuple(warnings),
    )


def _raise_errors(by_field: Mapping[str, list[str]]) -> None:
    if any(by_field.values()):
        raise InvalidText({name: sentences for name, sentences in by_field.items() if sentences})


def _unknown_placeholder_error(unknown: leaddyno.UnknownPlaceholder) -> TextError:
    sentence = _("%(placeholder)s is not a variable of this email.", placeholder=unknown.placeholder)
    return TextError(unknown.line, sentence, unknown=unknown.placeholder.strip("$"))


def _suggest(unknown: str, notice: Notice) -> str:
    variable = nearest_variable(unknown[:_SUGGESTION_LIMIT_CHARS], notice)
    if not variable:
        return f" {_('Take one from the list beside.')}"
    return str(" " + _("Did you mean %(variable)s?", variable=f"{{{{ {variable} }}}}"))


def _validate_subject(subject: str, errors: list[str]) -> None:
    if len(subject) > subjects.READ_LIMIT_CHARS:
        return
    html = subjects.find_html(subject)
    if subjects.is_invisible(subject):
        errors.append(_("Enter a subject."))
    elif "\n" in subject:
        errors.append(_("Write the subject in one line."))
    elif "join_link" in subject or "confirm_link" in subject:
        errors.append(
            _(
                "Put the link into the text: subjects are shown in lists, and anyone who sees the link can use it."
            )
        )
    elif len(subject) > subjects.LIMIT_CHARS:
        errors.append(subjects.describe_length())
    elif html:
        errors.append(
            _("Write the subject without HTML: an inbox shows %(tag)s as written.", tag=shorten(html[0]))
        )


def _describe_internal_address(address: str) -> str:
    return str(
        _("“%(address)s” does not open outside your own computer or network.", address=shorten(address, 60))
    )


def _sanitize_html(part: _Part, notice: Notice, *, is_markdown: bool) -> tuple[str, list[Removal], list[str]]:
    """Return sanitised HTML, what was removed, and links to one's own network. HTML with errors is returned unchanged."""
    html, errors = part.source, part.errors
    if errors:
        return html, [], []
    if is_markdown:
        try:
            html = markdown_to_html(html, notice)
        except TooManyParts as error:
            errors.append(formats.describe_excess(error))
            return html, [], []
    if len(html) > SOURCE_LIMIT_CHARS:
        errors.append(describe_length(len(html), as_html=True))
        return html, [], []
    try:
        source = sanitize.sanitize_source(html)
        sanitized, removed = source.html.strip(), source.removed
        in_paragraphs = plain_lines.to_html(sanitized, notice)
        if in_paragraphs != sanitized:  # an element can reach over several paragraphs
            sanitized = sanitize.sanitize_source(in_paragraphs).html
    except sanitize.MisplacedTag as error:
        errors.append(_in_line(_line_of(html, error.index), str(error)))
        return html, [], []
    except sanitize.TooManyElements:  # paragraphs and Markdown add elements to those of the source
        errors.append(describe_element_count())
        return html, [], []
    if not sanitized:
        errors += (_("Write a text: nothing in this email can be shown."), *_describe_removals(removed))
    dead = list(dict.fromkeys(addresses.find_dead_links(source.addresses, notice)))
    shown = dead[:_ERRORS_SHOWN]
    errors += [_in_line(addresses.line_of(part.source, one.address), one.sentence) for one in shown]
    if len(dead) > len(shown):
        more = len(dead) - len(shown)
        errors.append(ngettext("And one more link like these.", "And %(num)s more links like these.", more))
    entered = dict.fromkeys((*source.addresses, *source.pictures))
    return sanitized, removed, list(addresses.find_internal_addresses(entered))


def _render_sample(notice: Notice, account: Account, text: Text, body: str) -> rendering.RenderedEmail:
    """Render the text with sample values, so that only a text that can be sent is saved. Raises InvalidText for ``body``."""
    try:
        return rendering.render_sample(notice, account, text=text)
    except UnrenderableText as error:
        raise InvalidText({body: [f"{_('This cannot be sent.')} {error}"]}) from None


def _has_words(html: str) -> bool:
    return any(
        (token.kind is Kind.TEXT and token.value.strip())
        or (token.kind is Kind.START and token.value == "img" and token.attributes.get("alt", "").strip())
        for token in read_tokens(html)
    )


def _describe_removals(removed: Sequence[Removal]) -> tuple[str, ...]:
    """Return a sentence for each reason, which names what was removed for it."""
    by_reason: dict[Phrase, list[Phrase]] = {}
    for one in removed:
        by_reason.setdefault(one.why, []).append(one.what)
    sentences = []
    for why, parts in by_reason.items():
        shown = [shorten(str(one), _REMOVED_LIMIT_CHARS) for one in parts[:_REMOVED_SHOWN]]
        listed = ", ".join((*shown, *_more(parts, _REMOVED_SHOWN)))
        sentences.append(_("Signet removes %(parts)s: %(why)s.", parts=listed, why=str(why)))
    return tuple(sentences)


def _format_errors(errors: list[TextError], name: str, notice: Notice) -> list[str]:
    shown = []
    for error in errors[:_ERRORS_SHOWN]:
        sentence = error.sentence + (_suggest(error.unknown, notice) if error.unknown else "")
        in_line = (
            f"{sentence[0].upper()}{sentence[1:]}" if name == "subject" else _in_line(error.line, sentence)
        )
        shown.append(in_line)
    more = len(errors) - len(shown)
    return (
        [*shown, ngettext("And one more like these.", "And %(num)s more like these.", more)]
        if more
        else shown
    )


def _format_warnings(placeholders: Iterable[foreign.Placeholder], name: str) -> list[str]:
    """Return one sentence for each placeholder, however often it is used."""
    first = {one.text: one for one in reversed(list(placeholders))}
    where = _PARTS[name]
    return [
        f"{where}: {one.sentence}"
        if name == "subject"
        else _("%(part)s, line %(line)s: %(sentence)s", part=where, line=one.line, sentence=one.sentence)
        for one in reversed(first.values())
    ]


def _in_line(line: int, sentence: str) -> str:
    return str(_("Line %(line)s: %(sentence)s", line=line, sentence=sentence))


def _limit(sentences: Sequence[str], shown: int) -> tuple[str, ...]:
    return (*sentences[:shown], *_more(sentences, shown))


def _more(parts: Sequence[object], shown: int) -> tuple[str, ...]:
    """Return how many parts are not shown, as words, if there are any."""
    more = len(parts) - shown
    return (_("and %(number)s more", number=more),) if more > 0 else ()


def _line_of(source: str, index: int) -> int:
    return source.count("\n", 0, index) + 1


def _require_link(notice: Notice, account: Account, sample: rendering.RenderedEmail) -> None:
    """Refuse a text of Confirm sign-up without its link, with which no sign-up could be confirmed."""
    if notice is not CONFIRM_SIGN_UP:
        return
    link = rendering.sample_values(notice, account)["confirm_link"]
    missing = [name for name, part in (("html", sample.html), ("text", sample.text)) if link not in part]
    if missing:
        sentence = _("Keep {{ confirm_link }} in it: without this link no one can confirm.")
        raise InvalidText({name: [sentence] for name in missing})
