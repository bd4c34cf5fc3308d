"""The public sign-up form."""

from __future__ import annotations

import re
from typing import Any

from wtforms import BooleanField, Form, StringField
from wtforms.validators import ValidationError

from ..web.fields import PortalForm, mailbox_field, required, text_field

_NOT_IN_NAMES = re.compile(r"[@/\\<>{}\[\]|=$%#*]|www\.|https?:|\.(com|net|org|ru|cn|info|biz)\b", re.IGNORECASE)


def a_name(form: Form, field: Any) -> None:
    """Refuse addresses of pages in a name: somebody would use our email to carry them to a stranger."""
    if _NOT_IN_NAMES.search(field.data or "") or not any(c.isalpha() for c in field.data or ""):
        raise ValidationError("Enter your name, without links or symbols.")


class JoinForm(PortalForm):
    """Name, mailbox, consent, and a trap that people do not see."""

    name = text_field("Your name", required("Enter your name."), a_name, limit=60)
    mailbox = mailbox_field("Your email address", required("Enter your email address."))
    consent = BooleanField("I agree to receive emails about my affiliate account.")
    website = StringField("Leave this empty")  # filled in by robots only

    def validate_consent(self, field: Any) -> None:
        if not field.data:
            raise ValidationError("Tick this box to sign up: the programme tells you by email what your link earned.")
