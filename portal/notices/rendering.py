"""Rendering of a notice with its values to the subject, text and HTML that are sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from flask import current_app

from ..accounts.standing import is_limited
from ..amounts import format_count, format_number, parse_amount
from ..languages import language_of, shipped_language, write_iso_day
from ..outbox.queue import NewMessage
from ..shop_links import affiliate_link
from ..smtp.mailbox import replace_invisible
from ..state import current_config
from . import plaintext, sanitize, texts
from .branding import Branding, branding_of
from .catalogue import Audience, Notice, Variable, VariableType, sample_of, wording_of
from .inline_styles import apply_inline_styles
from .liquid import MissingNumber, NumberValue, UnrenderableText, render_liquid
from .texts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Unpack

    from ..accounts.models import Account
    from ..languages import Language

__all__ = [
    "RenderedEmail",
    "Text",
    "UnrenderableText",
    "clean_line",
    "render",
    "render_sample",
    "sample_values",
]

UNNAMED_SENDER = "Signet"  # stands for the name of a programme that no operator has approved
_LEFT_TO_RIGHT = "\u200e"
_SUBJECT_LIMIT_CHARS = 200
_VALUE_LIMIT_CHARS = 2_000
_LINES_LIMIT_CHARS = 20_000  # of a value with one line for each event
_SAMPLE_BASE_URL = "https://signet.example"  # in the samples of the catalogue; replaced by the configured one


class FooterLinks(TypedDict, total=False):
    """Addresses in the footer. A missing or empty one is left out. ``arrival_url`` is that of *It arrived*, in test emails."""

    unsubscribe_url: str
    preferences_url: str
    arrival_url: str


class MessageOptions(TypedDict, total=False):
    """The optional fields of ``NewMessage`` that do not come from the rendered email."""

    is_test: bool
    forced_version_id: int | None
    unsubscribe_url: str
    copy_of_id: int | None


@dataclass(frozen=True)
class RenderedEmail:
    """The content of one message. It is final: once enqueued, later changes to texts do not affect it."""

    subject: str
    text: str
    html: str
    preheader: str = ""  # what an inbox shows after the subject; part of the HTML
    is_custom: bool = False  # the text or the look is the owner's own

    def to(
        self, recipient: str, name: str = "", *, kind: str, key: str, **options: Unpack[MessageOptions]
    ) -> NewMessage:
        """Return a message with this content, ready to be enqueued."""
        return NewMessage(
            kind=kind,
            key=key,
            recipient=recipient,
            recipient_name=name,
            subject=self.subject,
            text=self.text,
            html=self.html,
            is_custom=self.is_custom,
            **options,
        )


def render(
    notice: Notice,
    account: Account,
    values: Mapping[str, str],
    *,
    text: Text | None = None,
    language: str = "",
    **links: Unpack[FooterLinks],
) -> RenderedEmail:
    """Render a notice with the given text, or with the account's current text.

    ``language`` is what the affiliate who gets it has chosen, if anything (``texts.current_text``).

    While an account is limited (``accounts.standing``), its own texts and look wait, and the default ones are used; of
    the look, only summaries have the postal address, which many laws ask for.

    Raises:
        KeyError: ``values`` lacks variables of the notice; the message lists them.
        UnrenderableText: the text cannot be rendered with these values.
    """
    if text is None and is_limited(account):
        address = branding_of(account.id).address if notice.can_be_unsubscribed else ""
        look = Branding(address=address)
        default = texts.default_text(notice, texts.language_for(notice, account, language))
        return render_with(notice, account.name, values, default, look, **links)
    if text is not None:
        text = texts.in_language(text, notice, account)
    sent = text or texts.current_text(account, notice, language)
    return render_with(notice, account.name, values, sent, branding_of(account.id), **links)


def render_with(
    notice: Notice,
    programme: str,
    values: Mapping[str, str],
    text: Text,
    branding: Branding,
    **links: Unpack[FooterLinks],
) -> RenderedEmail:
    """Render a notice with the given text and branding, without a database query. Raises as ``render``.

    ``programme`` is empty where the email must not name it.
    """
    language, own = language_of(text.language), shipped_language(text.language)
    cleaned = _clean_values(notice, values, language)
    # Validation refuses subjects that can be empty; for one that is all the same, the email leaves with the default.
    default = texts.default_text(notice, text.language)
    subject = _render_subject(text, cleaned) or _render_subject(default, cleaned)
    body = _sanitize_body(render_liquid(text.html, cleaned, html=True))
    plain = clean_lines(render_liquid(text.text, cleaned, html=False)).strip() if text.text.strip() else ""
    body_text = plaintext.read(body)
    layout = {
        "subject": subject,
        "programme": clean_line(programme) or UNNAMED_SENDER,
        "language": language,
        "footer_language": own,
        "wording": wording_of(own.code),
        "reason_line": _reason_line(notice, clean_line(programme), own),
        "branding": branding,
        "unsubscribe_url": links.get("unsubscribe_url", "") if notice.can_be_unsubscribed else "",
        "preferences_url": links.get("preferences_url", ""),
        "arrival_url": links.get("arrival_url", ""),
        "preheader": body_text.preheader,
    }
    styled = apply_inline_styles(body, branding.accent, is_right_to_left=language.is_right_to_left)
    return RenderedEmail(
        subject=subject,
        text=_render_layout("layout.txt", {**layout, "body": plain or body_text.text}),
        html=_render_layout("layout.html", {**layout, "body": styled}),
        preheader=body_text.preheader,
        is_custom=text != texts.default_text(notice, text.language)
        or replace(branding, address="") != Branding(),
    )


def render_subject(notice: Notice, values: Mapping[str, str], text: Text) -> str:
    """Return the subject, which is empty if nothing of it is left with these values. Raises UnrenderableText."""
    return _render_subject(text, _clean_values(notice, values, language_of(text.language)))


def _render_subject(text: Text, cleaned: Mapping[str, str]) -> str:
    return _truncate(clean_line(render_liquid(text.subject, cleaned, html=False)), _SUBJECT_LIMIT_CHARS)


def render_sample(
    notice: Notice,
    account: Account,
    first_name: str = "",
    *,
    values: Mapping[str, str] | None = None,
    text: Text | None = None,
    **links: Unpack[FooterLinks],
) -> RenderedEmail:
    """Render a notice for this account with sample values, for previews and test emails.

    ``values`` replace samples; those that are no variables of the notice are ignored. ``links`` holds at most
    ``arrival_url``, with which the reader of a test email confirms it. Raises UnrenderableText.
    """
    samples = sample_values(notice, account)
    samples |= {name: value for name, value in (values or {}).items() if name in samples}
    if first_name and "first_name" in samples:
        samples["first_name"] = first_name
    link = f"{current_config().base_url}/preferences/sample"
    has_preferences = notice.audience is Audience.AFFILIATE and not notice.always_on
    preferences = link if has_preferences else ""
    return render(
        notice,
        account,
        samples,
        text=text,
        unsubscribe_url=link,
        preferences_url=preferences,
        arrival_url=links.get("arrival_url", ""),
    )


def sample_values(notice: Notice, account: Account) -> dict[str, str]:
    """Return a sample value of each variable, with this portal's addresses and the programme's name, slug and links."""
    config, join = current_config(), f"{_SAMPLE_BASE_URL}/join"
    samples = {}
    for variable in notice.variables:
        sample = sample_of(variable, texts.language_for(notice, account)).replace(
            f"{join}/brightleaf", f"{join}/{account.slug}"
        )
        samples[variable.name] = sample.replace(_SAMPLE_BASE_URL, config.base_url, 1)
    if "link" in samples:
        samples["link"] = affiliate_link(account, samples["code"], config)
        samples["has_shop"] = samples["has_shop"] if account.shop_url else ""
    return samples | {"programme": account.name}


def clean_line(value: str) -> str:
    """Return a value as one line: line breaks, control characters and those that reverse text become spaces."""
    return " ".join(replace_invisible(value).split())


def clean_lines(value: str) -> str:
    """Return a value of several lines with LF line ends; control characters and those that reverse text become spaces."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ").split("\n")
    return "\n".join(replace_invisible(line).rstrip() for line in lines)


def _clean_values(notice: Notice, values: Mapping[str, str], language: Language) -> dict[str, str]:
    missing = {one.name for one in notice.variables if not one.optional} - set(values)
    if missing:
        raise KeyError(f"{notice.kind} needs {', '.join(sorted(missing))}")
    currency = values.get("currency", "")
    return {
        one.name: _clean_value(one, values.get(one.name, ""), currency, language) for one in notice.variables
    }


def _clean_value(variable: Variable, value: str, currency: str, language: Language) -> str:
    """Return a value as a text shows it; numbers as ``NumberValue``, in digits that people read."""
    if variable.type in (VariableType.AMOUNT, VariableType.NUMBER):
        number = parse_amount(value) if value else None
        if number is not None:
            currency = currency if variable.type is VariableType.AMOUNT else ""
            return NumberValue(number, _write_number(number, currency, language))
        if not value:
            return MissingNumber()
    if variable.type is VariableType.DATE:
        value = write_iso_day(value, language)
    if variable.type is VariableType.LINES:
        return _truncate(clean_lines(value).strip(), _LINES_LIMIT_CHARS)
    return _truncate(clean_line(value), _VALUE_LIMIT_CHARS)


def _write_number(number: Decimal, currency: str, language: Language) -> str:
    """Return a number as the language writes it. Between words from right to left, a mark keeps the minus before it."""
    is_money = bool(currency)
    written = (
        format_number(number, currency, language.locale)
        if is_money
        else format_count(number, language.locale)
    )
    return f"{_LEFT_TO_RIGHT}{written}" if language.is_right_to_left and number < 0 else written


def _reason_line(notice: Notice, programme: str, language: Language) -> str:
    reasons = wording_of(language.code).reasons
    unnamed = reasons.get(f"{notice.reason}-unnamed")
    line = unnamed if unnamed and not programme else reasons[notice.reason]
    return line.replace("{programme}", programme or UNNAMED_SENDER)


def _sanitize_body(html: str) -> sanitize.SanitizedHtml:
    """Sanitise rendered HTML. The values can have changed it, such as the scheme of a link."""
    try:
        return sanitize.sanitize(clean_lines(html))
    except sanitize.TooManyElements as error:
        raise UnrenderableText(str(error)) from None


def _render_layout(name: str, context: Mapping[str, object]) -> str:
    # Not flask.render_template: its context processors would add the logged-in user and the banners of pages.
    return current_app.jinja_env.get_template(f"mail/{name}").render(context).strip() + "\n"


def _truncate(value: str, limit_chars: int) -> str:
    return value if len(value) <= limit_chars else value[: limit_chars - 1].rstrip() + "…"
