"""How a mailbox is logged in to: a password, sealed for one server, port and username, or a grant of OAuth 2.0."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...oauth.tokens import GrantTokens
from ...smtp.server import Secret, Security
from ...state import current_config, vault
from .imap import PORTS, ImapServer

if TYPE_CHECKING:
    from .models import BounceMailbox


@dataclass(frozen=True)
class OpenedMailbox:
    """What one reading needs: the password, opened for the server that it was typed for, or else the source of tokens."""

    server: ImapServer
    username: str
    folder: str
    password: Secret | None = field(repr=False)
    tokens: GrantTokens | None


def binding(mailbox: BounceMailbox) -> dict[str, str | int]:
    """Return the values that a password is sealed with. It is never one of SMTP, whose binding has another kind."""
    return {
        "kind": "imap-password",
        "account": mailbox.account_id,
        "host": mailbox.host,
        "port": mailbox.port,
        "security": mailbox.security,
        "username": mailbox.username,
    }


def seal(mailbox: BounceMailbox, password: str) -> None:
    """Store a password. Call it after every change to a value of the binding."""
    mailbox.sealed_password = vault().seal(password, binding(mailbox))


def open_mailbox(mailbox: BounceMailbox) -> OpenedMailbox:
    """Return the server, and the password in plain text or the source of tokens. Raises DecryptionError."""
    policy = current_config().policy
    overrides = tuple(one for one in policy.host_overrides if one.port in PORTS)
    policy = replace(policy, ports=PORTS, host_overrides=overrides)
    server = ImapServer(mailbox.host, mailbox.port, Security(mailbox.security), policy)
    if mailbox.grant_id is not None:
        return OpenedMailbox(server, mailbox.username, mailbox.folder, None, GrantTokens(mailbox.grant_id))
    password = Secret(vault().open(mailbox.sealed_password, binding(mailbox)))
    return OpenedMailbox(server, mailbox.username, mailbox.folder, password, None)
