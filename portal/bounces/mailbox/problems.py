"""Sentences for failures of the mailbox reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

from ...smtp.failure import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...smtp.failure import SubmissionFailure

_LAPSED = frozenset({"invalid_grant", "interaction_required", "disconnected", "secret_not_openable"})
_PROBLEMS: Mapping[str, str] = {
    "name-unknown": _(
        "There is no public server of this name. Compare IMAP Server with your provider’s help page."
    ),
    "name-unanswered": _("The name of the server could not be looked up. It is tried again."),
    "target-refused": _("This server or port is not allowed here. Use a public server with port 993 or 143."),
    "connect-refused": _(
        "The server takes no connections on this port. Port 993 is the usual one, with SSL/TLS."
    ),
    "timed-out": _("The server did not answer in time. It is tried again."),
    "unreachable": _("The server cannot be reached from here. It is tried again."),
    "disconnected": _("The server closed the connection. It is tried again."),
    "certificate": _(
        "The certificate of the server is not valid. Ask your provider for the right name of the server."
    ),
    "certificate-name": _(
        "The certificate of the server is for another name. Enter the name that your provider shows."
    ),
    "tls": _("The connection could not be encrypted. Choose the other kind of encryption, with its port."),
    "starttls-missing": _("The server offers no STARTTLS on this port. Choose SSL/TLS with port 993."),
    "login-refused": _(
        "The server refused the username or the password. Many providers want an app password for IMAP."
    ),
    "login-not-offered": _(
        "The server takes no password over this connection. Your provider may want IMAP to be switched on first."
    ),
    "no-folder": _("There is no folder of this name in the mailbox. INBOX is the usual one."),
    "too-much": _("The server sent far more than was asked for. It is tried again."),
    "protocol": _(
        "The server did not answer as an IMAP server does, or ended the connection. Compare server and port with your "
        "provider’s help page."
    ),
    "token-refused": _(
        "The server refused the permission, although it is valid. IMAP may be off for this mailbox, or the app may have no "
        "right to it yet; at Microsoft a change takes up to two hours."
    ),
    "token-unavailable": _("The provider gave no permission just now. It is asked again."),
    "consent-lapsed": _("The provider no longer honours the consent. Connect the mailbox again."),
    "client-refused": _(
        "The provider does not accept the client: its secret may have expired, or the app lacks the permission to read "
        "mailboxes. Connect the mailbox again with a client that it accepts."
    ),
    "password-lost": _("The saved password cannot be opened any more. Enter it again."),
}


def code_of_token(failure: SubmissionFailure) -> str:
    """Return the code for a token that could not be fetched."""
    if failure.reason is not Reason.TOKEN_REFUSED:
        return "token-unavailable"
    return "consent-lapsed" if failure.evidence.get("error") in _LAPSED else "client-refused"


def sentence(code: str) -> str:
    """Return what happened and what to do about it."""
    return str(_PROBLEMS.get(code, _PROBLEMS["protocol"]))
