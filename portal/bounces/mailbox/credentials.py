"""The stored password of a mailbox, sealed for one server, port and username."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...smtp.server import Secret, Security
from ...state import current_config, vault
from .imap import PORTS, ImapServer

if TYPE_CHECKING:
    from .models import BounceMailbox


@dataclass(frozen=True)
class OpenedMailbox:
    """What one reading needs. The password is opened for the server that it was typed for."""

    server: ImapServer
    username: str
    folder: str
    password: Secret = field(repr=False)


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
    """Return server and password in plain text. Raises DecryptionError."""
    password = Secret(vault().open(mailbox.sealed_password, binding(mailbox)))
    policy = replace(current_config().policy, ports=PORTS, host_overrides=())
    server = ImapServer(mailbox.host, mailbox.port, Security(mailbox.security), policy)
    return OpenedMailbox(server, mailbox.username, mailbox.folder, password)
