"""AUTH with an access token: XOAUTH2 and OAUTHBEARER, over TLS only.

Both send the token in one line after the server's empty 334, never in the command: with a token of Microsoft's that
line has two to four thousand octets (RFC 4954 section 4 and RFC 5321 section 4.5.3.1.4 allow 512 for a command).
A server that refuses the token may send a second 334 with JSON that states why. The client answers it with a dummy
line, and the final refusal follows (RFC 7628 section 3.2.3; Google's page "The OAuth 2.0 mechanism").
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from ..failure import Reason
from ..server import Mechanism
from .reply import plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..server import AccessToken, Server, TokenSource
    from .connection import SmtpConnection
    from .reply import EhloFeatures, Reply

_MECHANISMS = (Mechanism.XOAUTH2, Mechanism.OAUTHBEARER)  # in this order
_SEPARATOR = "\x01"
# After the JSON of a refusal. RFC 7628 requires %x01, in Base64; XOAUTH2 an empty line.
_DUMMY = {Mechanism.XOAUTH2: "", Mechanism.OAUTHBEARER: "AQ=="}
_DETAIL = re.compile(r'"(status|scope)"\s*:\s*"?([^",}]{1,100})')
_MAX_DETAIL_CHARS = 100


def check_username(username: str) -> None:
    """Raise ValueError for a username that neither mechanism can transmit: a control character, a lone surrogate."""
    if any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in username):
        raise ValueError("The username contains a character that cannot be sent in a log-in.")


def authenticate(
    connection: SmtpConnection,
    server: Server,
    features: EhloFeatures,
    source: TokenSource,
    token: AccessToken | None,
) -> tuple[str, Reply]:
    """Log in with ``token``; return the mechanism used and the server's 235 reply.

    A 535 leads to one more attempt where ``source`` has a newer token, because the first may have been withdrawn.
    Raises SubmissionFailure: AUTH_NEEDS_TLS, AUTH_MISSING, MECHANISM_MISSING, REPLIED, GARBLED, and the failures of
    the connection and of ``source``.
    """
    if not connection.encrypted:
        raise connection.failure(Reason.AUTH_NEEDS_TLS)
    mechanism = _choose_mechanism(connection, server, features)
    token = token or source.fetch()
    reply, details = _attempt(connection, server, mechanism, token)
    if reply.code == 535:
        newer = source.renew(token)
        if newer is not None:
            reply, details = _attempt(connection, server, mechanism, newer)
    if reply.code != 235:
        reason = Reason.GARBLED if reply.positive else Reason.REPLIED
        raise connection.failure(reason, reply, mechanism=mechanism.value.upper(), **details)
    connection.logged_in = True
    return mechanism.value.upper(), reply


def _choose_mechanism(connection: SmtpConnection, server: Server, features: EhloFeatures) -> Mechanism:
    offered = features.mechanisms
    if not offered:
        raise connection.failure(Reason.AUTH_MISSING)
    acceptable = (server.mechanism,) if server.mechanism in _MECHANISMS else _MECHANISMS
    usable = [mechanism for mechanism in acceptable if mechanism.value.upper() in offered]
    if not usable:
        missing = " or ".join(mechanism.value.upper() for mechanism in acceptable)
        raise connection.failure(Reason.MECHANISM_MISSING, offered=" ".join(offered), mechanism=missing)
    return usable[0]


def _attempt(
    connection: SmtpConnection, server: Server, mechanism: Mechanism, token: AccessToken
) -> tuple[Reply, Mapping[str, str]]:
    """Send the token once; return the final reply and what the JSON of a refusal states."""
    connection.redact(token.secret.reveal(), _response(server, mechanism, token))
    reply = connection.command(f"AUTH {mechanism.value.upper()}")
    if reply.code != 334:
        if reply.positive:  # a success before the token was sent proves nothing
            raise connection.failure(Reason.GARBLED, reply)
        return reply, {}
    connection.send_secret("[hidden]", lambda: _response(server, mechanism, token))
    reply = connection.read_reply(connection.limits.reply)
    if reply.code != 334:
        return reply, {}
    details = _read_details(reply)
    connection.send_commands([_DUMMY[mechanism]])
    reply = connection.read_reply(connection.limits.reply)
    if reply.positive:  # also a 235: the token was refused one line before
        raise connection.failure(Reason.GARBLED, reply)
    return reply, details


def _response(server: Server, mechanism: Mechanism, token: AccessToken) -> str:
    """Return the line that holds the token, in Base64."""
    user, bearer = server.username or "", f"auth=Bearer {token.secret.reveal()}"
    if mechanism is Mechanism.OAUTHBEARER:
        name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 section 4
        parts: tuple[str, ...] = (f"n,a={name},", f"host={server.host}", f"port={server.port}", bearer)
    else:
        parts = (f"user={user}", bearer)
    text = _SEPARATOR.join([*parts, "", ""])
    return base64.b64encode(text.encode()).decode("ascii")


def _read_details(reply: Reply) -> dict[str, str]:
    """Return ``token_status`` and ``token_scope`` of the JSON in a second 334; empty if it cannot be read.

    The JSON may be cut, as replies are bounded, so its members are searched for.
    """
    encoded = reply.text[: len(reply.text) // 4 * 4]
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return {}
    return {f"token_{name}": plain_text(value, _MAX_DETAIL_CHARS) for name, value in _DETAIL.findall(text)}
