"""The forms of the page *Team* and of an invitation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from wtforms import RadioField, SelectField
from wtforms.fields.choices import SelectChoice

from ...web.fields import PortalForm, mailbox_field, required, text_field
from ..forms import current_password, new_password, validate_name
from ..names import LIMIT_CHARS
from .rights import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .members import Member

_ROLES = (
    SelectChoice(
        Role.VIEWER.value, _("Viewer: sees everything except secrets and set-up pages, and changes nothing")
    ),
    SelectChoice(
        Role.EDITOR.value,
        _("Editor: also changes texts, design, affiliates, commissions and waiting emails, and exports data"),
    ),
    SelectChoice(
        Role.OWNER.value, _("Owner: also changes the SMTP server, webhooks, API tokens, limits and the team")
    ),
)


class RoleForm(PortalForm):
    role = RadioField(_("Role"), choices=_ROLES, validators=[required(_("Choose a role."))])


class TeamInviteForm(RoleForm):
    mailbox = mailbox_field(
        _("Email address"),
        required(_("Enter an email address.")),
        description=_("The person uses it to log in."),
    )


class ContactForm(PortalForm):
    member = SelectField(_("Contact"), coerce=int)

    def __init__(self, members: Sequence[Member], **more: Any) -> None:
        super().__init__(**more)
        self.member.choices = [SelectChoice(one.id, f"{one.name}, {one.mailbox}") for one in members]


class NewMemberForm(PortalForm):
    """For a person who is new to the portal. There is no field for the mailbox: it is the invited one."""

    name = text_field(_("Your name"), required(_("Enter your name.")), validate_name, limit=LIMIT_CHARS)
    password = new_password(_("Password"))


class KnownMemberForm(PortalForm):
    password = current_password(_("Password"), _("Enter your password for Signet."))
