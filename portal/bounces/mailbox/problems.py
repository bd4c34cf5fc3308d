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
    "name-unanswered": _("The server could not be found. Signet tries again."),
    "target-refused": _("This server or port is not allowed here. Use a public server with port 993 or 143."),
    "connect-refused": _(
        "The server does not accept connections on this port. The most common port is 993 with SSL/TLS."
    ),
    "timed-out": _("The server did not answer in time. Signet tries again."),
    "unreachable": _("This portal cannot reach the server. Signet tries again."),
    "disconnected": _("The server closed the connection. Signet tries again."),
    "certificate": _(
        "The certificate of the server is not valid. Ask your provider for the right name of the server."
    ),
    "certificate-name": _(
        "The certificate of the server is for another name. Enter the name that your provider shows."
    ),
    "tls": _("The connection could not be encrypted. Choose the other kind of encryption, with its port."),
    "starttls-missing": _(
        "The server does not offer STARTTLS (encryption after connecting) on this "
        "port. Choose SSL/TLS with port 993."
    ),
    "login-refused": _(
        "The server refused the username or the password. Many providers require an app password for IMAP."
    ),
    "login-not-offered": _(
        "The server does not accept a password over this connection. You may have to turn on IMAP at your provider first."
    ),
    "no-folder": _("The mailbox has no folder with this name. The usual folder is INBOX."),
    "too-much": _("The server sent much more data than requested. Signet tries again."),
    "protocol": _(
        "The server did not answer like an IMAP server, or it closed the connection. Compare server and "
        "port with your provider’s help page."
    ),
    "token-refused": _(
        "The server refused a valid permission. IMAP may be off for this mailbox, or the app may not "
        "have access to it yet. At Microsoft a change takes up to two hours."
    ),
    "token-unavailable": _("The provider did not renew the permission just now. Signet tries again."),
    "consent-lapsed": _("The provider no longer accepts the permission. Connect the mailbox again."),
    "client-refused": _(
        "The provider does not accept the client: its secret may have expired, or the app lacks the permission to read "
        "mailboxes. Connect the mailbox again with a client that it accepts."
    ),
    "password-lost": _("The saved password can no longer be decrypted. Enter it again."),
}


def code_of_token(failure: SubmissionFailure) -> str:
    """Return the code for a token that could not be fetched."""
    if failure.reason is not Reason.TOKEN_REFUSED:
        return "token-unavailable"
    return "consent-lapsed" if failure.evidence.get("error") in _LAPSED else "client-refused"


def sentence(code: str) -> str:
    """Return what happened and what to do about it."""
    return str(_PROBLEMS.get(code, _PROBLEMS["protocol"]))
