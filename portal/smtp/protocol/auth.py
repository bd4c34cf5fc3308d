"""The log-in: exactly one attempt with exactly one mechanism (RFC 4954).

Trying the next mechanism after a refusal, as ``smtplib`` does, says the password again in a weaker form and
counts as a second wrong guess at servers that lock accounts.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from functools import partial
from typing import TYPE_CHECKING

from ..failure import Reason
from ..server import Mechanism, Secret, Server

if TYPE_CHECKING:
    from .connection import SmtpConnection
    from .reply import EhloFeatures, Reply

_COMMAND_LIMIT = 500  # octets of a command line, RFC 5321 section 4.5.3.1.4, less its CRLF and some air
_AUTOMATIC = (Mechanism.PLAIN, Mechanism.LOGIN)  # both say the password; CRAM-MD5 only where chosen


def check_credentials_encodable(server: Server) -> None:
    """Raise ValueError if the credentials cannot be said at all: half a pair, a NUL, a lone surrogate.

    Checked before any conversation. The encoding error that a surrogate would raise later carries the whole
    text, password included, so it must never come to be.
    """
    if server.username is None:
        return
    if server.password is None:
        raise ValueError("A username needs a password.")
    for text in (server.username, server.password.reveal()):
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
            raise ValueError("The username or the password holds a character that no log-in can say.")


def authenticate(
    wire: SmtpConnection, server: Server, features: EhloFeatures, *, permitted_in_clear: bool
) -> tuple[str, Reply]:
    """Log in once; return the mechanism used and the server's consent.

    Raises SubmissionFailure: AUTH_NEEDS_TLS, AUTH_MISSING, MECHANISM_MISSING, REPLIED, GARBLED, the wire's.
    """
    if not (wire.encrypted or permitted_in_clear):
        raise wire.fail(Reason.AUTH_NEEDS_TLS)
    mechanism = _choose(wire, server, features)
    username, password = server.username or "", server.password or Secret("")
    _hide(wire, username, password)
    if mechanism is Mechanism.PLAIN:
        reply = _say_plain(wire, username, password)
    elif mechanism is Mechanism.LOGIN:
        reply = _say_login(wire, username, password)
    else:
        reply = _say_cram_md5(wire, username, password)
    return mechanism.value.upper(), _consent(wire, reply)


def _hide(wire: SmtpConnection, username: str, password: Secret) -> None:
    forms = (_plain(username, password), _login_pair(username, password), _revealed(password))
    wire.hide(password.reveal(), *forms)


def _choose(wire: SmtpConnection, server: Server, features: EhloFeatures) -> Mechanism:
    offered = features.mechanisms
    if not offered:
        raise wire.fail(Reason.AUTH_MISSING)
    wanted = _AUTOMATIC if server.mechanism is Mechanism.AUTOMATIC else (server.mechanism,)
    usable = [mechanism for mechanism in wanted if mechanism.value.upper() in offered]
    if not usable:
        raise wire.fail(Reason.MECHANISM_MISSING, offered=" ".join(offered))
    return usable[0]


def _say_plain(wire: SmtpConnection, username: str, password: Secret) -> Reply:
    """RFC 4616: one response, said with the command unless the line gets too long (RFC 4954 section 4)."""
    if len(_plain(username, password)) < _COMMAND_LIMIT - len("AUTH PLAIN "):
        wire.send_secret("AUTH PLAIN [hidden]", lambda: f"AUTH PLAIN {_plain(username, password)}")
        return wire.read_reply(wire.limits.reply)
    reply = wire.ask("AUTH PLAIN")
    if reply.code != 334:
        return _unasked(wire, reply)
    wire.send_secret("[hidden]", lambda: _plain(username, password))
    return wire.read_reply(wire.limits.reply)


def _say_login(wire: SmtpConnection, username: str, password: Secret) -> Reply:
    """The unregistered mechanism everybody has: two prompts, whose wording differs and is not looked at."""
    reply = wire.ask("AUTH LOGIN")
    for secret in (Secret(username), password):
        if reply.code != 334:
            return _unasked(wire, reply)
        wire.send_secret("[hidden]", partial(_revealed, secret))
        reply = wire.read_reply(wire.limits.reply)
    return reply


def _say_cram_md5(wire: SmtpConnection, username: str, password: Secret) -> Reply:
    """RFC 2195: the password signs a challenge."""
    reply = wire.ask("AUTH CRAM-MD5")
    if reply.code != 334:
        return _unasked(wire, reply)
    try:
        challenge = base64.b64decode(reply.text, validate=True)
    except (binascii.Error, ValueError):
        raise wire.fail(Reason.GARBLED, reply) from None
    wire.send_secret("[hidden]", lambda: _cram(username, password, challenge))
    return wire.read_reply(wire.limits.reply)


def _unasked(wire: SmtpConnection, reply: Reply) -> Reply:
    """Let a refusal pass; a consent given before the password was said proves nothing about the password."""
    if reply.positive:
        raise wire.fail(Reason.GARBLED, reply)
    return reply


def _consent(wire: SmtpConnection, reply: Reply) -> Reply:
    if reply.code == 235:
        return reply
    raise wire.fail(Reason.GARBLED if reply.positive else Reason.REPLIED, reply)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _revealed(secret: Secret) -> str:
    return _base64(secret.reveal())


def _plain(username: str, password: Secret) -> str:
    return _base64(f"\0{username}\0{password.reveal()}")


def _login_pair(username: str, password: Secret) -> str:
    """The same without the leading NUL, as servers log it that take PLAIN apart."""
    return _base64(f"{username}\0{password.reveal()}")


def _cram(username: str, password: Secret, challenge: bytes) -> str:
    digest = hmac.new(password.reveal().encode(), challenge, "md5").hexdigest()
    return _base64(f"{username} {digest}")
