"""What the rehearsal's authorization server gives out: codes, refresh tokens and access tokens, and its scripted faults.

Nothing is stored: each is a JWT that is signed with a key derived from the portal's secret, so a consent outlives a restart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from ..oauth import issuers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..config import Config

_CODE_S, _REFRESH_S, _ACCESS_S = 60, 90 * 86_400, 3600
_SHORT_ACCESS_S = 90  # the portal renews a token a minute before its end
_THROTTLED_S = 60
_ALGORITHM = "HS256"
Answer = tuple[int, dict[str, Any]]


class ConsentFault(StrEnum):
    """What happens after the consent; chosen on the page of consent."""

    NONE = "works"
    LAPSED = "consent-lapsed"
    SECRET_EXPIRED = "secret-expired"
    REFUSED = "token-refused"
    THROTTLED = "throttled"


class TokenUse(StrEnum):
    """What a JWT is good for."""

    CODE = "code"
    REFRESH = "refresh"
    ACCESS = "access"


@dataclass(frozen=True)
class TokenLogin:
    """The response of XOAUTH2 or OAUTHBEARER, as the client sent it."""

    username: str
    token: str


_ERRORS: Mapping[ConsentFault, Answer] = {
    ConsentFault.LAPSED: (
        400,
        {"error": "invalid_grant", "error_description": "AADSTS700082: this refresh token has expired."},
    ),
    ConsentFault.SECRET_EXPIRED: (
        401,
        {"error": "invalid_client", "error_description": "AADSTS7000222: this client secret has expired."},
    ),
    ConsentFault.THROTTLED: (
        429,
        {"error": "temporarily_unavailable", "error_description": "Too many requests, try again later."},
    ),
}


class Consents:
    """Signs and reads the JWTs of one instance."""

    def __init__(self, config: Config) -> None:
        digest = hmac.digest(config.secret_key.encode(), b"the consents of the rehearsal", "sha256")
        self._key = OctKey.import_key(digest)
        self._client = issuers.rehearsal_client(config)
        self._issuer = issuers.rehearsal_url(config)
        self._redeemed: set[str] = set()  # codes; each expires after a minute

    def code(self, asked: Mapping[str, str], mailbox: str, fault: ConsentFault, now: datetime) -> str:
        """Return the code for a consent that was given.

        Args:
            asked: the parameters of the authorization request; ``scope`` is what was allowed of it.
        """
        claims = {
            "mailbox": mailbox,
            "fault": fault.value,
            "scope": asked["scope"],
            "nonce": asked["nonce"],
            "challenge": asked["code_challenge"],
            "redirect_uri": asked["redirect_uri"],
        }
        return self._sign(TokenUse.CODE, claims, _CODE_S, now)

    def answer(self, form: Mapping[str, str], now: datetime) -> Answer:
        """Return status and JSON of the token endpoint (RFC 6749 sections 4.1.3 and 6)."""
        given = form.get("client_secret", "").encode()
        if form.get("client_id") != self._client.id or not hmac.compare_digest(
            given, self._client.secret.encode()
        ):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") == "authorization_code":
            return self._redeem(form, now)
        if form.get("grant_type") == "refresh_token":
            return self._refresh(form.get("refresh_token", ""), now)
        return 400, {"error": "unsupported_grant_type"}

    def accepts(self, login: TokenLogin, scope: str, now: datetime) -> bool:
        """Return whether a mail server that needs a scope lets a token log in as a user."""
        found = self._read(TokenUse.ACCESS, login.token, now)
        if found is None or found["fault"] == ConsentFault.REFUSED:
            return False
        if scope not in str(found.get("scope", issuers.REHEARSAL_SCOPE)).split():
            return False
        return str(found["mailbox"]).casefold() == login.username.casefold()

    def _redeem(self, form: Mapping[str, str], now: datetime) -> Answer:
        code = form.get("code", "")
        found = self._read(TokenUse.CODE, code, now)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if found is None or found["challenge"] != challenge or code in self._redeemed:
            return 400, {"error": "invalid_grant"}
        if found["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        self._redeemed.add(code)
        fault = ConsentFault(found["fault"])
        if fault is ConsentFault.SECRET_EXPIRED:
            return _ERRORS[fault]
        return self._tokens({**found, "given": _seconds(now), "uses": 0}, now)

    def _refresh(self, token: str, now: datetime) -> Answer:
        found = self._read(TokenUse.REFRESH, token, now)
        if found is None:
            return 400, {"error": "invalid_grant"}
        fault = ConsentFault(found["fault"])
        lapsed = fault is ConsentFault.LAPSED and found["uses"] > 0
        throttled = fault is ConsentFault.THROTTLED and _seconds(now) < found["given"] + _THROTTLED_S
        if lapsed or throttled:
            return _ERRORS[fault]
        return self._tokens({**found, "uses": found["uses"] + 1}, now)

    def _tokens(self, found: Mapping[str, Any], now: datetime) -> Answer:
        """Return a new access token, the next refresh token, and the id token of the person who consented."""
        kept = {name: found[name] for name in ("mailbox", "fault", "scope", "nonce", "given", "uses")}
        lifetime = _SHORT_ACCESS_S if found["fault"] == ConsentFault.LAPSED else _ACCESS_S
        shown = {name: found[name] for name in ("mailbox", "fault", "scope")}
        return 200, {
            "token_type": "Bearer",
            "access_token": self._sign(TokenUse.ACCESS, shown, lifetime, now),
            "expires_in": lifetime,
            "refresh_token": self._sign(TokenUse.REFRESH, kept, _REFRESH_S, now),
            "scope": found["scope"],
            "id_token": self._id_token(found, now),
        }

    def _id_token(self, found: Mapping[str, Any], now: datetime) -> str:
        claims = {
            "iss": self._issuer,
            "aud": self._client.id,
            "sub": found["mailbox"],
            "email": found["mailbox"],
            "nonce": found["nonce"],
            "iat": _seconds(now),
            "exp": _seconds(now) + _ACCESS_S,
        }
        return jwt.encode({"alg": _ALGORITHM}, claims, OctKey.import_key(self._client.secret))

    def _sign(self, use: TokenUse, claims: Mapping[str, Any], lifetime_s: int, now: datetime) -> str:
        return jwt.encode(
            {"alg": _ALGORITHM}, {**claims, "use": use.value, "exp": _seconds(now) + lifetime_s}, self._key
        )

    def _read(self, use: TokenUse, text: str, now: datetime) -> dict[str, Any] | None:
        """Return the claims of a JWT that was signed here for this use and is not over."""
        try:
            claims = jwt.decode(text, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        return claims if claims.get("use") == use and claims["exp"] > _seconds(now) else None


def read_login(response: bytes) -> TokenLogin | None:
    """Return user and token of a response of XOAUTH2 or OAUTHBEARER (RFC 7628 section 3.1); None if it holds none."""
    parts = response.decode("utf-8", "replace").split("\x01")
    token = next((part[len("auth=Bearer ") :] for part in parts if part.startswith("auth=Bearer ")), "")
    first = parts[0]
    if first.startswith("user="):
        username = first.removeprefix("user=")
    else:
        username = first.removeprefix("n,a=").removesuffix(",").replace("=2C", ",").replace("=3D", "=")
    return TokenLogin(username, token) if token and username else None


def _seconds(now: datetime) -> int:
    return int(now.timestamp())
