"""AUTH with a password: exactly one attempt with exactly one mechanism (RFC 4954). ``bearer`` logs in with a token.

Trying the next mechanism after a refusal, as ``smtplib`` does, sends the password again in a weaker form, and
a server that locks accounts counts it as a second wrong password.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from functools import partial
from typing import TYPE_CHECKING

from ..failure import Reason, SubmissionFailure
from ..server import AccessToken, Mechanism, Secret, Server
from . import bearer

if TYPE_CHECKING:
    from .connection import SmtpConnection
    from .reply import EhloFeatures, Reply

_MAX_COMMAND_BYTES = 500  # RFC 5321 section 4.5.3.1.4 allows 512 with the CRLF; the rest is a margin
# In this order. CRAM-MD5 comes last: a server that offers it beside another one may keep no password for it.
_AUTOMATIC = (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5)


def check_credentials_encodable(server: Server) -> None:
    """Raise ValueError for credentials that AUTH cannot transmit: no password, a NUL, a lone surrogate.

    Checked before the connection is opened. The UnicodeEncodeError that a surrogate would raise later holds
    the whole text, password included, so it must never be raised.
    """
    if server.username is None:
        return
    if server.tokens is not None:
        bearer.check_username(server.username)
        return
    if server.password is None:
        raise ValueError("A username needs a password.")
    for text in (server.username, server.password.reveal()):
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
            raise ValueError(
                "The username or the password contains a character that cannot be sent in a log-in."
            )


def authenticate(
    connection: SmtpConnection,
    server: Server,
    features: EhloFeatures,
    *,
    plaintext_permitted: bool,
    token: AccessToken | None = None,
) -> tuple[str, Reply]:
    """Log in once; return the mechanism used and the server's 235 reply.

    A server with a source of tokens is never logged in to with a password.
    Raises SubmissionFailure: AUTH_NEEDS_TLS, AUTH_MISSING, MECHANISM_MISSING, REPLIED, GARBLED, and the
    failures of the connection.
    """
    if server.tokens is not None:
        return bearer.authenticate(connection, server, features, server.tokens, token)
    if not (connection.encrypted or plaintext_permitted):
        raise connection.failure(Reason.AUTH_NEEDS_TLS)
    mechanism = _choose_mechanism(connection, server, features)
    username, password = server.username or "", server.password or Secret("")
    _redact_credentials(connection, username, password)
    log_in = {Mechanism.PLAIN: _auth_plain, Mechanism.LOGIN: _auth_login}.get(mechanism, _auth_cram_md5)
    try:
        reply = connection.expect(log_in(connection, username, password), 235)
    except SubmissionFailure as failure:
        tried = {"mechanism": mechanism.value.upper(), "offered": " ".join(features.mechanisms)}
        failure.evidence = {**failure.evidence, **tried}
        raise
    connection.logged_in = True
    return mechanism.value.upper(), reply


def _redact_credentials(connection: SmtpConnection, username: str, password: Secret) -> None:
    encoded = (
        _plain_response(username, password),
        _response_without_authzid(username, password),
        _encode_secret(password),
    )
    connection.redact(password.reveal(), *encoded)


def _choose_mechanism(connection: SmtpConnection, server: Server, features: EhloFeatures) -> Mechanism:
    offered = features.mechanisms
    if not offered:
        raise connection.failure(Reason.AUTH_MISSING)
    acceptable = _AUTOMATIC if server.mechanism is Mechanism.AUTOMATIC else (server.mechanism,)
    usable = [mechanism for mechanism in acceptable if mechanism.value.upper() in offered]
    if not usable:
        raise connection.failure(Reason.MECHANISM_MISSING, offered=" ".join(offered))
    return usable[0]


def _auth_plain(connection: SmtpConnection, username: str, password: Secret) -> Reply:
    """AUTH PLAIN (RFC 4616): an initial response, or a separate line if the command would be too long (RFC 4954 4)."""
    if len(_plain_response(username, password)) < _MAX_COMMAND_BYTES - len("AUTH PLAIN "):
        connection.send_secret(
            "AUTH PLAIN [hidden]", lambda: f"AUTH PLAIN {_plain_response(username, password)}"
        )
        return connection.read_reply(connection.limits.reply)
    reply = connection.command("AUTH PLAIN")
    if reply.code != 334:
        return _reject_early_success(connection, reply)
    connection.send_secret("[hidden]", lambda: _plain_response(username, password))
    return connection.read_reply(connection.limits.reply)


def _auth_login(connection: SmtpConnection, username: str, password: Secret) -> Reply:
    """AUTH LOGIN, not registered but common: two prompts. Their text varies and is ignored."""
    reply = connection.command("AUTH LOGIN")
    for secret in (Secret(username), password):
        if reply.code != 334:
            return _reject_early_success(connection, reply)
        connection.send_secret("[hidden]", partial(_encode_secret, secret))
        reply = connection.read_reply(connection.limits.reply)
    return reply


def _auth_cram_md5(connection: SmtpConnection, username: str, password: Secret) -> Reply:
    """AUTH CRAM-MD5 (RFC 2195): an HMAC of the server's challenge, keyed with the password."""
    reply = connection.command("AUTH CRAM-MD5")
    if reply.code != 334:
        return _reject_early_success(connection, reply)
    try:
        challenge = base64.b64decode(reply.text, validate=True)
    except (binascii.Error, ValueError):
        raise connection.failure(Reason.GARBLED, reply) from None
    connection.send_secret("[hidden]", lambda: _cram_md5_response(username, password, challenge))
    return connection.read_reply(connection.limits.reply)


def _reject_early_success(connection: SmtpConnection, reply: Reply) -> Reply:
    """Return a refusal; raise GARBLED for a success before the password was sent, which proves nothing."""
    if reply.positive:
        raise connection.failure(Reason.GARBLED, reply)
    return reply


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _encode_secret(secret: Secret) -> str:
    return _base64(secret.reveal())


def _plain_response(username: str, password: Secret) -> str:
    return _base64(f"\0{username}\0{password.reveal()}")


def _response_without_authzid(username: str, password: Secret) -> str:
    """Encode the PLAIN response without its leading NUL, as some servers echo it."""
    return _base64(f"{username}\0{password.reveal()}")


def _cram_md5_response(username: str, password: Secret, challenge: bytes) -> str:
    digest = hmac.new(password.reveal().encode(), challenge, "md5").hexdigest()
    return _base64(f"{username} {digest}")
