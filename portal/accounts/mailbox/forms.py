"""The form for another mailbox of a log-in."""

from __future__ import annotations

from flask_babel import lazy_gettext as _

from ...web.fields import PortalForm, mailbox_field, required


class NewMailboxForm(PortalForm):
    mailbox = mailbox_field(
        _("New email address"),
        required(_("Enter your new email address.")),
        description=_("We send a link there. Nothing changes until you open it and press the button."),
    )
