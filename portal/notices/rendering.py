"""From a notice and its values to subject, text and HTML, exactly as they will be sent."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app

from ..outbox.queue import NewMessage
from ..smtp.mailbox import is_header_safe
from ..state import current_config
from . import branding, plaintext, sanitize, texts
from .catalogue import Audience, Notice, Variable, VariableType
from .inline_styles import apply_inline_styles
from .liquid import UnrenderableText, render_liquid
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..accounts.models import Account

__all__ = [
    "RenderedEmail",
    "Text",
    "UnrenderableText",
    "clean_line",
    "render",
    "render_sample",
    "sample_values",
]

_SUBJECT_LIMIT = 200  # characters; a longer one is cut by every inbox anyway
_VALUE_LIMIT = 2_000  # characters
_ELEMENTS_LIMIT = 1_500
_SAMPLE_HOST = "https://signet.example"  # in the samples of the catalogue, for this portal's own address

# In these scripts the family name stands first, and half a name would be no greeting.
_FAMILY_NAME_FIRST = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"  # kana, ideographs, Hangul
)


@dataclass(frozen=True)
class RenderedEmail:
    """A message's words, frozen when it is enqueued."""

    subject: str
    text: str
    html: str
    preheader: str = ""  # what an inbox shows after the subject; part of the HTML

    def to(
        self,
        recipient: str,
        name: str = "",
        *,
        kind: str,
        key: str,
        is_test: bool = False,
        forced_version_id: int | None = None,
        unsubscribe_url: str = "",
        copy_of_id: int | None = None,
    ) -> NewMessage:
        """Return these words as a message to be owed; see there."""
        return NewMessage(
            kind=kind,
            key=key,
            recipient=recipient,
            recipient_name=name,
            subject=self.subject,
            text=self.text,
            html=self.html,
            is_test=is_test,
            forced_version_id=forced_version_id,
            unsubscribe_url=unsubscribe_url,
            copy_of_id=copy_of_id,
        )


def render(
    notice: Notice,
    account: Account,
    values: Mapping[str, str],
    *,
    text: Text | None = None,
    unsubscribe_url: str = "",
    preferences_url: str = "",
) -> RenderedEmail:
    """Render a notice with the account's own text, or the one given.

    ``values`` must hold each of the notice's variables; KeyError names those it lacks. Raises UnrenderableText.
    """
    words, look = text or texts.current_text(account.id, notice), branding.branding_of(account.id)
    ways_out = {"unsubscribe_url": unsubscribe_url, "preferences_url": preferences_url}
    return render_with(notice, account.name, values, words, look, **ways_out)


def render_with(
    notice: Notice,
    programme: str,
    values: Mapping[str, str],
    words: Text,
    look: branding.Branding,
    *,
    unsubscribe_url: str = "",
    preferences_url: str = "",
) -> RenderedEmail:
    """Render a notice from these words in this look, asking no table. As ``render``."""
    clean = _clean(notice, values)
    subject = _cut(clean_line(render_liquid(words.subject, clean, html=False)), _SUBJECT_LIMIT)
    if not subject:
        raise UnrenderableText("The subject is empty.")
    body = _body(render_liquid(words.html, clean, html=True))
    said = clean_lines(render_liquid(words.text, clean, html=False)).strip() if words.text.strip() else ""
    frame = {
        "subject": subject,
        "programme": clean_line(programme),
        "reason_line": notice.reason_line.replace("{programme}", clean_line(programme)),
        "look": look,
        "unsubscribe_url": unsubscribe_url if notice.can_be_unsubscribed else "",
        "preferences_url": preferences_url,
    }
    preheader = plaintext.extract_preheader(body.html)
    return RenderedEmail(
        subject=subject,
        text=_framed("mail/layout.txt", frame, body=said or plaintext.html_to_text(body.html)),
        html=_framed(
            "mail/layout.html",
            frame,
            body=apply_inline_styles(body, look.accent),
            preheader=preheader,
        ),
        preheader=preheader,
    )


def render_sample(
    notice: Notice,
    account: Account,
    first_name: str = "",
    *,
    values: Mapping[str, str] | None = None,
    text: Text | None = None,
) -> RenderedEmail:
    """Render a notice for this account with sample values, as the preview and the test email do.

    ``values`` take the place of samples, where the notice has such variables. Raises UnrenderableText.
    """
    shown = sample_values(notice, account)
    shown |= {name: value for name, value in (values or {}).items() if name in shown}
    if first_name and "first_name" in shown:
        shown["first_name"] = first_name
    example = f"{current_config().base_url}/preferences/sample"
    chooses = notice.audience is Audience.AFFILIATE and not notice.locked
    preferences = example if chooses else ""
    return render(notice, account, shown, text=text, unsubscribe_url=example, preferences_url=preferences)


def sample_values(notice: Notice, account: Account) -> dict[str, str]:
    """Return a sample of each variable, as this account's affiliates would see it."""
    own = f"{_SAMPLE_HOST}/join/brightleaf"
    samples = {
        variable.name: variable.sample.replace(own, f"{_SAMPLE_HOST}/join/{account.slug}")
        for variable in notice.variables
    }
    here = {
        name: value.replace(_SAMPLE_HOST, current_config().base_url, 1) for name, value in samples.items()
    }
    return here | {"programme": account.name}


def clean_line(value: str) -> str:
    """Make a value fit for a header and for a line of text: what ends lines or turns text becomes a space."""
    return " ".join(_visible(value).split())


def clean_lines(value: str) -> str:
    """Make a value of several lines fit for a text: they stay, what turns text or is no character goes."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ").split("\n")
    return "\n".join(_visible(line).rstrip() for line in lines)


def _visible(line: str) -> str:
    return line if is_header_safe(line) else "".join(c if is_header_safe(c) else " " for c in line)


def _clean(notice: Notice, values: Mapping[str, str]) -> dict[str, str]:
    missing = {one.name for one in notice.variables if not one.optional} - set(values)
    if missing:
        raise KeyError(f"{notice.kind} needs {', '.join(sorted(missing))}")
    return {one.name: _value(one, values.get(one.name, "")) for one in notice.variables}


def _value(variable: Variable, value: str) -> str:
    tidy = clean_lines(value).strip() if variable.type is VariableType.LINES else clean_line(value)
    return _cut(tidy, _VALUE_LIMIT)


def _body(filled: str) -> sanitize.SanitizedHtml:
    """Sanitise what was filled in: only now is it known what an address, say, has become."""
    body = sanitize.sanitize(clean_lines(filled))
    if body.html.count("<") > 2 * _ELEMENTS_LIMIT:
        raise UnrenderableText(f"It has more than {_ELEMENTS_LIMIT:,} elements.")
    return body


def _framed(template: str, frame: Mapping[str, object], **more: object) -> str:
    # Not flask.render_template: who is logged in and what banners the page has are no part of a mail.
    page = current_app.jinja_env.get_template(template).render({**frame, **more})
    return page.strip() + "\n"


def _cut(value: str, limit: int) -> str:
    return value if len(value) <= limit else value[: limit - 1].rstrip() + "…"


def first_name_of(name: str) -> str:
    """Return the first name, or the whole name where the first word is a title, an initial, "Lovelace,"."""
    words = name.split()
    if len(words) < 2:
        return name.strip()
    first = words[0]
    letters = sum(unicodedata.category(c)[0] == "L" for c in first)
    if letters < 2 or first[-1] in ".,،" or _FAMILY_NAME_FIRST.search(name):
        return " ".join(words)
    return first
