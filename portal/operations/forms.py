"""The forms of the operator's pages."""

from __future__ import annotations

from flask_babel import lazy_gettext as _

from ..web.fields import PortalForm, mailbox_field, required


class InvitePersonForm(PortalForm):
    """Whom the operator invites to register."""

    mailbox = mailbox_field(
        _("Email address"),
        required(_("Enter the email address of the person you invite.")),
        description=_("The person registers with it, by a link that you hand over."),
    )
