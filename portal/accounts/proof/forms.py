"""The form of *Is it you?*."""

from __future__ import annotations

from flask_babel import lazy_gettext as _
from wtforms import HiddenField
from wtforms.validators import Optional

from ...web.fields import PortalForm
from ..forms import current_password


class ProveForm(PortalForm):
    password = current_password(_("Your password for Signet"), _("Enter your password for Signet."))
    to = HiddenField(validators=[Optional()])  # the path to go on to
    kept = HiddenField(validators=[Optional()])  # a form that was sent before: proof/kept.py
