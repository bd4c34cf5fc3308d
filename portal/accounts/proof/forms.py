"""The form of *Is it you?*."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _
from wtforms import HiddenField, StringField
from wtforms.validators import Optional

from ...web.fields import PortalForm, max_length, required, stripped
from ..forms import current_password


class ProveForm(PortalForm):
    """Asks for the password, and for a code where the person has a second factor."""

    password = current_password(_("Your password for Signet"), _("Enter your password for Signet."))
    code = StringField(
        _("Code"),
        description=_("The six digits that your authenticator app shows now, or one of your recovery codes."),
        validators=[required(_("Enter a code.")), max_length(100)],
        filters=[stripped],
    )
    to = HiddenField(validators=[Optional()])  # the path to go on to
    kept = HiddenField(validators=[Optional()])  # a form that was sent before: proof/kept.py

    def __init__(self, *, has_factor: bool, **more: Any) -> None:
        super().__init__(**more)
        if not has_factor:
            del self.code
