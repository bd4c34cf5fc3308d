"""The form of the mailbox for bounces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from wtforms import PasswordField, RadioField, ValidationError
from wtforms.fields.choices import SelectChoice

from ...smtp.network.guard import HostError, canonical_host
from ...smtp.server import Security
from ...state import current_config
from ...web.fields import PortalForm, max_length, required, text_field
from ...web.translations import translated
from .imap import PORTS
from .saving import MailboxInput

if TYPE_CHECKING:
    from wtforms import Form

USUAL_PORTS = {Security.IMPLICIT_TLS.value: 993, Security.STARTTLS.value: 143}


def _host(_form: Form, field: Any) -> None:
    try:
        canonical_host(field.data or "")
    except HostError as error:
        raise ValidationError(translated(str(error))) from None


def _port(_form: Form, field: Any) -> None:
    """Accept the ports of IMAP, and those that the operator allows inside the own network."""
    allowed = {*PORTS, *(target.port for target in current_config().policy.private_targets)}
    if field.data and field.data not in set(map(str, allowed)):
        raise ValidationError(
            _("Enter 993 for SSL/TLS or 143 for STARTTLS, or leave this empty to use the usual port.")
        )


def _plain(_form: Form, field: Any) -> None:
    if any(ord(one) < 32 or ord(one) == 127 for one in field.data or ""):
        raise ValidationError(_("This contains a line break or another control character. Paste it again."))


class FolderForm(PortalForm):
    """Folder of a mailbox that was connected without a password."""

    read_folder = text_field(_("Folder"), required(_("Enter the folder, usually INBOX.")), _plain, limit=120)


class MailboxForm(PortalForm):
    """Server, folder and password of a mailbox."""

    host = text_field(
        _("IMAP Server"), required(_("Enter the server, such as imap.example.com.")), _host, limit=253
    )
    security = RadioField(
        _("Encryption"),
        choices=[
            SelectChoice(Security.IMPLICIT_TLS.value, _("SSL/TLS, port 993 (most common)")),
            SelectChoice(Security.STARTTLS.value, _("STARTTLS, port 143")),
        ],
        default=Security.IMPLICIT_TLS.value,
    )
    port = text_field(_("Port"), _port, limit=5)
    username = text_field(
        _("Username"), required(_("Enter the username, usually the email address.")), _plain, limit=254
    )
    password = PasswordField(_("IMAP Password"), validators=[_plain, max_length(500)])
    folder = text_field(_("Folder"), required(_("Enter the folder, usually INBOX.")), _plain, limit=120)

    @property
    def values(self) -> MailboxInput:
        security = str(self.security.data)
        return MailboxInput(
            canonical_host(self.host.data or ""),
            int(self.port.data or USUAL_PORTS[security]),
            security,
            str(self.username.data),
            str(self.folder.data),
            self.password.data or "",
        )
