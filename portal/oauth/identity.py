"""The id token of OpenID Connect: who consented.

It is validated as OpenID Connect Core section 3.1.3.7 asks: issuer, audience, authorized party, expiry, nonce and subject. Not
the signature: for a token that comes straight from the token endpoint, the verified TLS connection may stand in its place
(point 6).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from joserfc import jws
from joserfc.errors import JoseError

if TYPE_CHECKING:
    from datetime import datetime

_CLOCK_SKEW = timedelta(seconds=120)
_MAX_CHARS = 20_000


class InvalidIdToken(ValueError):
    """The id token is missing, malformed, or for another client, request or time; the message names which."""


@dataclass(frozen=True)
class Identity:
    """Who consented. ``mailbox`` is empty if the token names none."""

    subject: str
    mailbox: str


def read_identity(id_token: object, *, issuer: str, client_id: str, nonce: str, now: datetime) -> Identity:
    """Return who consented. Raises InvalidIdToken.

    Args:
        issuer: what ``iss`` has to be or to begin with; Google also writes it without the scheme.
    """
    claims = _claims(id_token)
    issued_by, audience = claims.get("iss"), claims.get("aud")
    names = (issuer, issuer.removeprefix("https://"))
    if issued_by not in names and not str(issued_by).startswith(f"{issuer}/"):
        raise InvalidIdToken("issuer")
    if (audience if isinstance(audience, list) else [audience]) != [client_id]:  # others are not trusted
        raise InvalidIdToken("audience")
    if claims.get("azp", client_id) != client_id:
        raise InvalidIdToken("authorized party")
    if claims.get("nonce") != nonce:
        raise InvalidIdToken("nonce")
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or not expires >= (now - _CLOCK_SKEW).timestamp():  # or no number
        raise InvalidIdToken("time")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise InvalidIdToken("subject")
    mailbox = claims.get("email") or claims.get("preferred_username") or ""
    return Identity(subject[:254], str(mailbox)[:254].strip())


def _claims(id_token: object) -> dict[str, Any]:
    if not isinstance(id_token, str) or len(id_token) > _MAX_CHARS:
        raise InvalidIdToken("missing")
    try:
        claims = json.loads(jws.extract_compact(id_token.encode("ascii")).payload)
    except (JoseError, ValueError, RecursionError):
        raise InvalidIdToken("malformed") from None
    if not isinstance(claims, dict):
        raise InvalidIdToken("malformed")
    return claims
