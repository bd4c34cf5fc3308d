"""The forms of registration, log-in and profile. They check single fields; the operations check the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import BooleanField, Field, Form, PasswordField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import ValidationError

from ..languages import PORTAL_LANGUAGES
from ..web.fields import PortalForm, mailbox_field, required, text_field
from . import profile
from .names import LIMIT_CHARS, why_refused
from .passwords import MAX_CHARS, MIN_CHARS, PasswordRefused, check_password

if TYPE_CHECKING:
    from flask_wtf import FlaskForm


NO_PROGRAMME = _(
    "You do not belong to an affiliate programme at the moment. Ask the owner of a programme to invite you, "
    "or the operator of this portal to give you a new one."
)
WRONG_CODE = _("This code is wrong or was already used. Wait for the next one.")


def _validate_password(form: Form, field: Field) -> None:
    """Validate a new password, also against the other fields of the form."""
    about = [form[name].data or "" for name in ("programme", "name", "mailbox") if name in form]
    try:
        check_password(field.data or "", *about)
    except PasswordRefused as refusal:
        raise ValidationError(str(refusal)) from None


def validate_name(_form: Form, field: Field) -> None:
    """Refuse a name that must not appear in emails. ``object_data`` is the saved name, which stays valid."""
    name = field.data or ""
    if name and name != field.object_data and (why := why_refused(name)):
        raise ValidationError(why)


def _limit_length(_form: Form, field: Field) -> None:
    # Not WTForms' Length: it sets maxlength on the input, and browsers then silently cut what is pasted.
    if len(field.data or "") > 4 * MAX_CHARS:
        raise ValidationError(_("This password is too long."))


def current_password(label: str, message: str) -> PasswordField:
    """Return a field for a password that exists."""
    return PasswordField(label, validators=[required(message), _limit_length])


def new_password(label: str) -> PasswordField:
    """Return a field for a password that is chosen."""
    return PasswordField(
        label,
        description=_(
            "%(min_chars)s characters or more. You can use any characters, including spaces.",
            min_chars=MIN_CHARS,
        ),
        validators=[required(_("Choose a password.")), _validate_password],
    )


def _name_field(label: str, message: str, description: str = "") -> StringField:
    """Return a field for a name of a programme or a person, which emails show."""
    return text_field(label, required(message), validate_name, limit=LIMIT_CHARS, description=description)


class LogInForm(PortalForm):
    mailbox = mailbox_field(_("Email address"), required(_("Enter your email address.")))
    password = current_password(_("Password"), _("Enter your password."))


class RegisterForm(PortalForm):
    programme = _name_field(
        _("Name of your affiliate programme"),
        _("Enter the name of your affiliate programme."),
        _("Your affiliates see it in the emails they get."),
    )
    name = _name_field(_("Your name"), _("Enter your name."))
    mailbox = mailbox_field(
        _("Email address"), required(_("Enter your email address.")), description=_("You use it to log in.")
    )
    password = new_password(_("Password"))


class InvitedForm(RegisterForm):
    """Registration by an invitation. Where it is bound to a mailbox, there is no field for one."""

    def __init__(self, mailbox: str, **more: Any) -> None:
        super().__init__(**more)
        if mailbox:
            del self.mailbox


class ConfirmForm(PortalForm):
    password = current_password(_("Password"), _("Enter the password that you chose when you registered."))


class ForgotForm(PortalForm):
    mailbox = mailbox_field(_("Email address"), required(_("Enter your email address.")))


class ResetForm(PortalForm):
    password = new_password(_("New password"))


class NamesForm(PortalForm):
    programme = _name_field(
        _("Name of your affiliate programme"),
        _("Enter the name of your affiliate programme."),
        _("Your affiliates see it. The address of your sign-up page does not change."),
    )
    name = _name_field(_("Your name"), _("Enter your name."))

    def __init__(self, *, with_programme: bool, **more: Any) -> None:
        super().__init__(**more)
        if not with_programme:
            del self.programme


class FurtherProgrammeForm(PortalForm):
    further = _name_field(
        _("Name of the other programme"),
        _("Enter the name of the other affiliate programme."),
        _(
            "It has its own settings, affiliates and team. You log in to all of your programmes with the same password."
        ),
    )


class TimeZoneForm(PortalForm):
    time_zone = SelectField(
        _("Time zone"),
        description=_(
            "It decides when a week starts and ends. Weekly summaries are sent on Mondays at nine o’clock."
        ),
    )

    def __init__(self, current: str, **more: Any) -> None:
        super().__init__(**more)
        self.time_zone.choices = profile.time_zone_choices(current)


class OwnZoneForm(PortalForm):
    own_zone = SelectField(
        _("Time zone of the pages"),
        description=_(
            "In which you see times and choose days. Other people of the programme choose their own."
        ),
    )

    def __init__(self, programme: str, current: str, **more: Any) -> None:
        super().__init__(**more)
        as_programme = gettext("As the programme: %(zone)s", zone=programme)
        self.own_zone.choices = {
            gettext("Programme"): [("", as_programme)],
            **profile.time_zone_choices(current or programme),
        }


class ShortcutsForm(PortalForm):
    has_shortcuts = BooleanField(_("Keyboard shortcuts"))


class LanguageForm(PortalForm):
    language = SelectField(
        _("Language"),
        choices=[SelectChoice(one.code, one.name) for one in PORTAL_LANGUAGES.values()],
        description=_(
            "The language of the pages that you see. You choose the language of emails to affiliates and of "
            "public pages in the programme settings. An affiliate can choose another one."
        ),
    )


class PasswordForm(PortalForm):
    present_password = current_password(_("Current password"), _("Enter your current password."))
    password = new_password(_("New password"))


def add_error(form: FlaskForm, message: str, field: Any = None) -> None:
    """Show an operation's error on the form: beside a field, or on top when it concerns the whole form."""
    if field is None:
        form.form_errors.append(message)
    else:
        field.errors = [*field.errors, message]
