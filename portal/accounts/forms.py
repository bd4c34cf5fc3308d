"""The forms of the accounts room: shape only; the rules are with the deeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wtforms import Field, Form, PasswordField, SelectField
from wtforms.validators import ValidationError

from ..web.fields import PortalForm, mailbox_field, required, text_field
from . import profile
from .passwords import MAX_CHARS, MIN_CHARS, PasswordRefused, check_password

if TYPE_CHECKING:
    from flask_wtf import FlaskForm


def _acceptable(form: Form, field: Field) -> None:
    """Judge a new password together with what else the form knows about its owner."""
    about = [form[name].data or "" for name in ("programme", "name", "mailbox") if name in form]
    try:
        check_password(field.data or "", *about)
    except PasswordRefused as refusal:
        raise ValidationError(str(refusal)) from None


def _not_endless(_form: Form, field: Field) -> None:
    # No Length here: it would put a maxlength on the input, and a browser silently cuts what is pasted.
    if len(field.data or "") > 4 * MAX_CHARS:
        raise ValidationError("This is longer than any password of this portal.")


def _present(label: str, message: str) -> PasswordField:
    return PasswordField(label, validators=[required(message), _not_endless])


def _new(label: str) -> PasswordField:
    return PasswordField(
        label,
        description=f"{MIN_CHARS} characters or more, whichever you like. Spaces count.",
        validators=[required("Choose a password."), _acceptable],
    )


class LogInForm(PortalForm):
    mailbox = mailbox_field("Email address", required("Enter your email address."))
    password = _present("Password", "Enter your password.")


class RegisterForm(PortalForm):
    programme = text_field(
        "Name of your affiliate programme",
        required("Enter the name of your affiliate programme."),
        limit=100,
        description="Your affiliates see it in the emails they get.",
    )
    name = text_field("Your name", required("Enter your name."), limit=100)
    mailbox = mailbox_field(
        "Email address", required("Enter your email address."), description="You log in with it."
    )
    password = _new("Password")


class ConfirmForm(PortalForm):
    password = _present("Password", "Enter the password you chose when you registered.")


class ForgotForm(PortalForm):
    mailbox = mailbox_field("Email address", required("Enter your email address."))


class ResetForm(PortalForm):
    password = _new("New password")


class NamesForm(PortalForm):
    programme = text_field(
        "Name of your affiliate programme",
        required("Enter the name of your affiliate programme."),
        limit=100,
        description="Your affiliates see it. The address of your sign-up page stays as it is.",
    )
    name = text_field("Your name", required("Enter your name."), limit=100)


class TimeZoneForm(PortalForm):
    time_zone = SelectField(
        "Time zone",
        description="Weeks begin and end by it, and the weekly summaries leave on Monday at nine o’clock.",
    )

    def __init__(self, present: str, **more: Any) -> None:
        super().__init__(**more)
        self.time_zone.choices = profile.time_zone_choices(present)


class PasswordForm(PortalForm):
    present_password = _present("Present password", "Enter your present password.")
    password = _new("New password")


def refuse(form: FlaskForm, message: str, field: Any = None) -> None:
    """Put a deed's refusal on the form: beside a field, or on top when it concerns the whole."""
    if field is None:
        form.form_errors.append(message)
    else:
        field.errors = [*field.errors, message]
