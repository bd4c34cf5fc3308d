"""The forms of the operator's pages."""

from __future__ import annotations

from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms.validators import Optional, ValidationError

from ..web.fields import PortalForm, mailbox_field, required, text_field

_MAX_PER_DAY = 1_000_000


class InvitePersonForm(PortalForm):
    """Whom the operator invites to register."""

    mailbox = mailbox_field(
        _("Email address"),
        required(_("Enter the email address of the person you invite.")),
        description=_("The person registers with it, by a link that you hand over."),
    )


class PlatformLimitForm(PortalForm):
    """How many emails a day the platform's sender carries for an account."""

    per_day = text_field(
        _("Emails in 24 hours by the platform’s sender"),
        Optional(),
        limit=12,
        description=_(
            "0 to 1000000. Empty: the default. It does not apply to emails by SMTP settings of its own."
        ),
    )

    @property
    def chosen(self) -> int | None:
        """The number, or None."""
        return int(self.per_day.data) if self.per_day.data else None

    def validate_per_day(self, field: Any) -> None:
        text = field.data or ""
        if text and not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= _MAX_PER_DAY):
            raise ValidationError(gettext("Enter a whole number from 0 to 1000000, or leave this empty."))
