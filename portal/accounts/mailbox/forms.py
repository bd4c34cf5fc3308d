"""The form for another mailbox of a log-in."""

from __future__ import annotations

from flask_babel import lazy_gettext as _

from ...web.fields import PortalForm, mailbox_field, required


class NewMailboxForm(PortalForm):
    mailbox = mailbox_field(
        _("New email address"),
        required(_("Enter your new email address.")),
        description=_("A link goes there. Nothing changes until you press the button behind it."),
    )
