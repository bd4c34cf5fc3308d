"""The lines for Exchange Online PowerShell that let an app send as, or read, one mailbox, with the owner's values filled in.

Sources: learn.microsoft.com, "Role Based Access Control for Applications in Exchange Online", "SMTP app RBAC onboarding"
and "Authenticate an IMAP, POP or SMTP connection using OAuth".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SCOPE = "Signet mailbox"


@dataclass(frozen=True)
class ExchangeLines:
    """Groups of lines: for RBAC for Applications, for the classic permission, for the mailbox, and to read it over IMAP."""

    rbac: str
    classic: str
    mailbox: str
    imap: str


def is_guid(text: str) -> bool:
    """Return whether a text is an id as Microsoft writes them."""
    return _GUID.fullmatch(text) is not None


def exchange_lines(client_id: str, object_id: str, mailbox: str) -> ExchangeLines:
    """Return the lines; a value that is empty or no id becomes a placeholder in angle brackets."""
    client = client_id if is_guid(client_id) else "<client ID>"
    principal = object_id if is_guid(object_id) else "<object ID of the enterprise application>"
    address = _quoted(mailbox or "<mailbox>")
    register = f'New-ServicePrincipal -AppId {client} -ObjectId {principal} -DisplayName "Signet"'
    condition = f"PrimarySmtpAddress -eq {address}"
    rbac = (
        "Connect-ExchangeOnline",
        register,
        f'New-ManagementScope -Name "{_SCOPE}" -RecipientRestrictionFilter "{condition}"',
        f'New-ManagementRoleAssignment -App {principal} -Role "Application SMTP.SendAsApp" '
        f'-CustomResourceScope "{_SCOPE}"',
        f"Test-ServicePrincipalAuthorization -Identity {principal} -Resource {address}",
    )
    classic = (
        "Connect-ExchangeOnline",
        register,
        f"Add-MailboxPermission -Identity {address} -User {principal} -AccessRights FullAccess",
    )
    imap = (
        "Connect-ExchangeOnline",
        register,
        f"Add-MailboxPermission -Identity {address} -User {principal} -AccessRights FullAccess",
        f"Set-CASMailbox -Identity {address} -ImapEnabled $true",
    )
    mailbox_line = f"Set-CASMailbox -Identity {address} -SmtpClientAuthenticationDisabled $false"
    return ExchangeLines("\n".join(rbac), "\n".join(classic), mailbox_line, "\n".join(imap))


def _quoted(text: str) -> str:
    """Return a text in single quotes, within which PowerShell replaces nothing."""
    return "'" + text.replace("'", "''") + "'"
