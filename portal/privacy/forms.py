"""The form that lets an erased person be written to again."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _
from wtforms.validators import ValidationError

from ..smtp.mailbox import MailboxError, parse_mailbox
from ..web.fields import PortalForm, mailbox_field, mailbox_sentence, required, text_field


class TakePartAgainForm(PortalForm):
    """The address of a person who was erased and asks to come back. Their mailbox is stored as a hash only."""

    mailbox = mailbox_field(_("Email address"), required(_("Enter the email address.")))
    why = text_field(_("Reason for unblocking"), required(_("Enter a reason for unblocking.")), limit=200)

    def validate_mailbox(self, field: Any) -> None:
        try:
            parse_mailbox(field.data or "")
        except MailboxError as error:
            raise ValidationError(mailbox_sentence(error)) from None
