"""Form fields and rules every room shares."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask_wtf import FlaskForm
from flask_wtf.csrf import _FlaskFormCSRF
from wtforms import EmailField, Field, Form, HiddenField, StringField
from wtforms.csrf.core import CSRFTokenField
from wtforms.validators import InputRequired, Length, StopValidation, ValidationError

Validator = Callable[[Form, Field], None]
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # some scripts, and families of emoji, cannot be written without them


class _LateToken(CSRFTokenField):
    """Makes its token when it is shown: a form that was sent and is in order needs no other."""

    def process(self, *args: Any, **kwargs: Any) -> None:
        HiddenField.process(self, *args, **kwargs)

    def _value(self) -> Any:
        return self.csrf_impl.generate_csrf_token(self)


class _Csrf(_FlaskFormCSRF):
    field_class = _LateToken


class PortalForm(FlaskForm):
    """The base of every form: required is judged by us, beside the field, not by a browser's bubble."""

    class Meta(FlaskForm.Meta):
        csrf_class = _Csrf

        def render_field(self, field: Field, render_kw: dict[str, Any]) -> Any:
            render_kw.setdefault("required", False)
            return super().render_field(field, render_kw)


def stripped(value: str | None) -> str | None:
    """Drop the white space around a value; for anything but passwords."""
    return value.strip() if isinstance(value, str) else value


def one_line(form: Form, field: Field) -> None:
    """Refuse what could end a header line or turn text around: controls and bidirectional marks.

    Nobody can remove what nobody sees, so the form comes back without them. HTML cannot hold them all anyway.
    """
    typed = field.data or ""
    visible = "".join(c for c in typed if unicodedata.category(c) not in _INVISIBLE or c in _JOINERS)
    if visible != typed:
        field.data = visible
        raise ValidationError(
            "This held invisible characters, which are now removed. Check it and send it again."
        )


class _Required(InputRequired):
    """InputRequired looks at what was sent, so that white space which a filter then drops would do."""

    def __call__(self, form: Form, field: Field) -> None:
        if field.data == "":
            field.errors[:] = []
            raise StopValidation(self.message)
        super().__call__(form, field)


def required(message: str) -> Validator:
    """Ask for a value; one of nothing but white space is none, where the field strips it."""
    return _Required(message)


def at_most(limit: int) -> Validator:
    rule: Validator = Length(max=limit, message=f"Use {limit} characters or fewer.")
    return rule


def mailbox(form: Form, field: Field) -> None:
    """Accept a mailbox like ada@example.org and keep it as it will be written in the envelope."""
    if not field.data:
        return
    try:
        found = validate_email(field.data, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise ValidationError("Enter an email address like name@example.com.") from None
    if found.ascii_email is None:
        raise ValidationError(
            "Use an email address whose part before the @ has only plain letters (a–z) and digits."
        )
    field.data = found.normalized


def text_field(label: str, *rules: Validator, limit: int = 200, **more: Any) -> StringField:
    """A line of text, stripped, without control characters."""
    return StringField(label, validators=[*rules, one_line, at_most(limit)], filters=[stripped], **more)


def mailbox_field(label: str, *rules: Validator, **more: Any) -> EmailField:
    """A mailbox, judged strictly."""
    return EmailField(label, validators=[*rules, one_line, at_most(254), mailbox], filters=[stripped], **more)
