"""Shared form base class, fields and validators."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from email_validator import EmailNotValidError, validate_email
from flask_babel import get_locale, gettext
from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import BooleanField, EmailField, Field, Form, StringField, TextAreaField
from wtforms.i18n import get_translations
from wtforms.validators import InputRequired, Length, StopValidation, ValidationError

from .pasted_address import unwrap_address

if TYPE_CHECKING:
    from ..smtp.mailbox import MailboxError

Validator = Callable[[Form, Field], None]
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# The sentences of smtp.mailbox, which is below the translations; here they are found for the catalogue.
MAILBOX_SENTENCES = (
    _("This email address is too long."),
    _("An email address contains no spaces or invisible characters."),
    _("An email address has exactly one @, as in ada@example.org."),
    _("The part before the @ is empty, or has a dot at an end or two in a row."),
    _("The part before the @ contains a character that email addresses cannot have."),
    _("The part before the @ is not a real email address."),
    _("The part before the @ is too long."),
    _("The part after the @ is not a domain such as example.org."),
)
# In lower case, so that no rule about case changes it; the library checks all others letter by letter.
_USUAL_LOCAL_PART = re.compile(r"[a-z0-9_+-]++(?:\.[a-z0-9_+-]++)*+")
_USUAL_LOCAL_PART_CHARS, _USUAL_DOMAIN_CHARS = 64, 100
_JOINERS = "\u200c\u200d"  # needed in some scripts and in emoji sequences


@cache
def _wtforms_messages(language: str) -> Any:
    return get_translations([language])


class PortalForm(FlaskForm):
    """The base of every form. The portal validates required fields and shows errors beside them, not the browser."""

    class Meta(FlaskForm.Meta):
        csrf = False  # CSRFProtect checks every POST before its view; components/form.html writes the token

        def get_translations(self, _form: Form) -> Any:
            """Return WTForms' own messages in the language of the page, read once; Flask-WTF reads them for each request."""
            return _wtforms_messages(str(get_locale() or "en"))

        def render_field(self, field: Field, render_kw: dict[str, Any]) -> Any:
            render_kw.setdefault("required", False)
            return super().render_field(field, render_kw)

    def filter_only(self, *checked: Field) -> None:
        """Run the filters of all fields, but keep the errors of the ``checked`` ones alone: the others may be incomplete."""
        self.validate()
        for other in self:
            if other not in checked:
                other.errors = []


def stripped(value: str | None) -> str | None:
    """Strip the white space around a value; not for passwords."""
    return value.strip() if isinstance(value, str) else value


def one_line(_form: Form, field: Field) -> None:
    """Reject control characters and bidirectional marks, which could end a header line or reorder text.

    The field is shown again without them, because the user cannot see and remove them; HTML cannot hold all of them.
    """
    entered = field.data or ""
    if entered.isprintable():
        return
    visible = "".join(c for c in entered if unicodedata.category(c) not in _INVISIBLE or c in _JOINERS)
    if visible != entered:
        field.data = visible
        raise ValidationError(
            _(
                "This field contained invisible characters. We have removed them. Check it and send the form "
                "again."
            )
        )


class _Required(InputRequired):
    """InputRequired checks the raw value, which may be white space that a filter has stripped; this also checks the result."""

    def __call__(self, form: Form, field: Field) -> None:
        if field.data == "":
            field.errors[:] = []
            raise StopValidation(self.message)
        super().__call__(form, field)


def required(message: str) -> Validator:
    """Require a value. White space alone is not a value where the field strips it."""
    return _Required(message)


class _MaxLength(Length):
    """A Length after which no other rule reads a value that is too long."""

    def __call__(self, form: Form, field: Field) -> None:
        try:
            super().__call__(form, field)
        except ValidationError as error:
            raise StopValidation(str(error)) from None


def address_field(label: Any, clean: Callable[[str | None], str | None]) -> TextAreaField:
    """Return a field for the postal address that the emails of an account show."""
    return TextAreaField(label, filters=[clean], validators=[max_length(500)])


def without_address_field() -> BooleanField:
    """Return a field for an owner whose law asks for no postal address."""
    return BooleanField(
        _("Send invitations and summaries without a postal address"),
        description=_("Only if no law that applies to you requires one."),
    )


def max_length(limit: int) -> Validator:
    """Limit the length in characters. The rules after this one are skipped if the value is longer."""
    rule: Validator = _MaxLength(max=limit, message=_("Use %(limit)s characters or fewer.", limit=limit))
    return rule


def mailbox(_form: Form, field: Field) -> None:
    """Validate a mailbox such as ada@example.org and normalise it to the form used in the envelope."""
    if not field.data:
        return
    usual = _usual_mailbox(field.data)
    if usual is not None:
        field.data = usual
        return
    try:
        found = validate_email(field.data, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise ValidationError(_("Enter an email address like name@example.com.")) from None
    if found.ascii_email is None:
        raise ValidationError(
            _("Use an email address without accents and without letters other than a–z before the @.")
        )
    field.data = found.normalized


def _usual_mailbox(text: str) -> str | None:
    """Return an address of the usual form as ``validate_email`` normalises it, else None. Checks each domain once."""
    local, _at, domain = text.rpartition("@")
    if len(local) > _USUAL_LOCAL_PART_CHARS or not _USUAL_LOCAL_PART.fullmatch(local):
        return None
    normalized = _usual_domain(domain) if len(domain) <= _USUAL_DOMAIN_CHARS else None
    return None if normalized is None else f"{local}@{normalized}"


@lru_cache(maxsize=1024)
def _usual_domain(domain: str) -> str | None:
    if not domain.isascii() or "xn--" in domain.lower():  # its two forms differ in length
        return None
    try:
        return validate_email(f"x@{domain}", check_deliverability=False, strict=True).domain
    except EmailNotValidError:
        return None


def mailbox_sentence(error: MailboxError) -> str:
    """Return what is wrong with an address, in the language of the page."""
    return str(gettext(str(error)))


def text_field(label: str, *rules: Validator, limit: int = 200, **more: Any) -> StringField:
    """Return a field for one line of text, stripped, without control characters."""
    return StringField(label, validators=[*rules, one_line, max_length(limit)], filters=[stripped], **more)


def mailbox_field(label: str, *rules: Validator, **more: Any) -> EmailField:
    """Return a field for one mailbox, strictly validated once what was pasted around it is removed."""
    return EmailField(
        label, validators=[*rules, one_line, max_length(254), mailbox], filters=[unwrap_address], **more
    )
