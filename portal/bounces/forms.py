"""Forms of the page *Bounces*."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _
from wtforms import PasswordField, TextAreaField
from wtforms.validators import ValidationError

from ..web.fields import PortalForm, max_length, required, stripped
from .hooks import MAX_KEY_CHARS


def _plain(_form: Any, field: Any) -> None:
    if not (field.data.isascii() and field.data.isprintable() and " " not in field.data):
        raise ValidationError(
            _("The key contains a space, a line break or another invalid character. Copy it again.")
        )


class SecretKeyForm(PortalForm):
    """A secret key that verifies a provider's signatures."""

    key = PasswordField(
        validators=[required(_("Enter the key.")), max_length(MAX_KEY_CHARS), _plain], filters=[stripped]
    )


class PublicKeyForm(PortalForm):
    """A public key that verifies a provider's signatures."""

    key = TextAreaField(
        validators=[required(_("Enter the key.")), max_length(MAX_KEY_CHARS), _plain], filters=[stripped]
    )
