"""The forms of the second factor."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from wtforms import HiddenField, StringField
from wtforms.validators import Optional

from ...web.fields import PortalForm, max_length, required, stripped, text_field
from .passkeys import MAX_ANSWER_CHARS

_MAX_CHARS = 100  # of a code


def _code(label: str, message: str, **more: object) -> StringField:
    return StringField(
        label, validators=[required(message), max_length(_MAX_CHARS)], filters=[stripped], **more
    )


class SecondStepForm(PortalForm):
    code = _code(
        _("Code"),
        _("Enter a code."),
        description=_("The six digits that your authenticator app shows now, or one of your recovery codes."),
    )


class ConfirmAppForm(PortalForm):
    secret = HiddenField(validators=[Optional(), max_length(2000)])  # sealed by totp.new_app
    code = _code(
        _("Code of the app"), _("Enter the code that the app shows now."), description=_("Six digits.")
    )


class AnswerForm(PortalForm):
    credential = HiddenField(validators=[Optional(), max_length(MAX_ANSWER_CHARS)])  # JSON of the browser


class PasskeyForm(AnswerForm):
    name = text_field(
        _("Name of the passkey"),
        required(_("Enter a name.")),
        limit=60,
        description=_("So that you recognise it later, such as “Phone” or “Blue key”."),
    )


class PassedForm(AnswerForm):
    """The passkey form of *Is it you?*, with where it leads and what was sent before, as in ``ProveForm``."""

    to = HiddenField(validators=[Optional()])
    kept = HiddenField(validators=[Optional()])
