"""The authorization servers: where tokens are fetched, and with which scope.

Sources: learn.microsoft.com, "Authenticate an IMAP, POP or SMTP connection using OAuth";
developers.google.com, "OAuth 2.0 mechanism" and "Using OAuth 2.0 for server to server applications".
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..env import OAuthClient
from ..state import current_config
from .models import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config
    from .models import OAuthGrant

MICROSOFT, GOOGLE, REHEARSAL = "microsoft", "google", "rehearsal"
REHEARSAL_SCOPE, REHEARSAL_READ_SCOPE = "smtp.send", "imap.read"
GOOGLE_AUDIENCE = (
    "https://oauth2.googleapis.com/token"  # of a service account's request, wherever it is posted
)


@dataclass(frozen=True)
class Issuer:
    """One authorization server. ``scope`` is what a log-in without a person needs, over SMTP and IMAP alike."""

    id: str
    name: str
    scope: str


_ISSUERS = {
    MICROSOFT: Issuer(MICROSOFT, "Microsoft", "https://outlook.office365.com/.default"),
    GOOGLE: Issuer(GOOGLE, "Google", "https://mail.google.com/"),
    REHEARSAL: Issuer(REHEARSAL, "Rehearsal", REHEARSAL_SCOPE),
}


def issuer_of(grant: OAuthGrant) -> Issuer:
    """Return the authorization server of a grant."""
    return _ISSUERS[grant.issuer]


def name_of(issuer: str) -> str:
    """Return the name of an authorization server for sentences."""
    return _ISSUERS[issuer].name


def token_url(grant: OAuthGrant) -> str:
    """Return the address of the token endpoint. The tenant was validated when the grant was made."""
    return _token_url(grant.issuer, grant.tenant)


def _token_url(issuer: str, tenant: str) -> str:
    if issuer == MICROSOFT:
        return f"{current_config().oauth.microsoft_login_url}/{tenant}/oauth2/v2.0/token"
    if issuer == REHEARSAL:
        return f"http://127.0.0.1:{current_config().rehearsal_consent_port}/token"
    return current_config().oauth.google_token_url


@dataclass(frozen=True)
class ConsentWay:
    """A way to connect by consent: the authorization server, the provider's card, and what is asked for.

    ``needed_scope`` is the part of ``scope`` without which nothing can be sent or read; ``parameters`` are further
    parameters of the authorization request.
    """

    id: str
    name: str  # of the authorization server
    issuer: str
    card: str
    scope: str
    needed_scope: str
    tenant: str = ""  # where the owner enters none
    parameters: Mapping[str, str] = field(default_factory=dict)
    purpose: Purpose = Purpose.SEND

    @property
    def is_organisations(self) -> bool:
        """Whether it is Microsoft's for organisations, with a directory and shared mailboxes."""
        return self.issuer == MICROSOFT and self.card == "microsoft365"


_SMTP_SEND = "https://outlook.office.com/SMTP.Send"
_IMAP_READ = "https://outlook.office.com/IMAP.AccessAsUser.All"
# profile: an id token of a user without a mail attribute names the account in preferred_username only.
_MICROSOFT_SCOPE = f"{_SMTP_SEND} offline_access openid email profile"
_SENDING = (
    ConsentWay(
        "microsoft",
        "Microsoft",
        MICROSOFT,
        "microsoft365",
        _MICROSOFT_SCOPE,
        _SMTP_SEND,
        "organizations",
        {"prompt": "select_account"},
    ),
    ConsentWay(
        "outlook-com",
        "Microsoft",
        MICROSOFT,
        "outlook-com",
        _MICROSOFT_SCOPE,
        _SMTP_SEND,
        "consumers",
        {"prompt": "select_account"},
    ),
    # Without prompt=consent Google gives a refresh token at the first consent only.
    ConsentWay(
        "google",
        "Google",
        GOOGLE,
        "gmail",
        "https://mail.google.com/ openid email",
        "https://mail.google.com/",
        parameters={"access_type": "offline", "prompt": "consent"},
    ),
    # The rehearsal server, which plays a provider; see ``available_ways``.
    ConsentWay(
        "rehearsal",
        "Rehearsal",
        REHEARSAL,
        "rehearsal-consent",
        f"{REHEARSAL_SCOPE} offline_access openid email",
        REHEARSAL_SCOPE,
    ),
)


_READ_SCOPES = {MICROSOFT: _IMAP_READ, REHEARSAL: REHEARSAL_READ_SCOPE}  # Google has one scope for both


def _reading(way: ConsentWay) -> ConsentWay:
    """Return the way to read a mailbox by the same kind of consent, with a scope of its own."""
    needed = _READ_SCOPES.get(way.issuer, way.needed_scope)
    scope = way.scope.replace(way.needed_scope, needed)
    return replace(way, id=f"{READ_PREFIX}{way.id}", scope=scope, needed_scope=needed, purpose=Purpose.READ)


READ_PREFIX = "read-"
WAYS = {way.id: way for way in (*_SENDING, *map(_reading, _SENDING))}


def available_ways(purpose: Purpose = Purpose.SEND) -> dict[str, ConsentWay]:
    """Return the ways that owners can choose: the rehearsal only where its server runs."""
    is_rehearsed = current_config().rehearsal
    return {
        id_: way
        for id_, way in WAYS.items()
        if way.purpose is purpose and (way.issuer != REHEARSAL or is_rehearsed)
    }


def way_of(grant: OAuthGrant) -> ConsentWay:
    """Return the way by which a grant of the flow *consent* was made."""
    id_ = grant.issuer
    if grant.issuer == MICROSOFT and grant.tenant == WAYS["outlook-com"].tenant:
        id_ = "outlook-com"
    return WAYS[f"{READ_PREFIX}{id_}" if grant.purpose is Purpose.READ else id_]


def authorize_url(way: ConsentWay, tenant: str) -> str:
    """Return the address of the authorization endpoint."""
    if way.issuer == MICROSOFT:
        return f"{current_config().oauth.microsoft_login_url}/{tenant}/oauth2/v2.0/authorize"
    if way.issuer == REHEARSAL:
        return f"{rehearsal_url(current_config())}/authorize"
    return current_config().oauth.google_authorize_url


def way_token_url(way: ConsentWay, tenant: str) -> str:
    """Return the address of the token endpoint."""
    return _token_url(way.issuer, tenant)


def identity_issuer(way: ConsentWay) -> str:
    """Return what ``iss`` of an id token is or begins with; Microsoft's continues with the directory."""
    if way.issuer == MICROSOFT:
        return current_config().oauth.microsoft_login_url
    if way.issuer == REHEARSAL:
        return rehearsal_url(current_config())
    parts = urlsplit(current_config().oauth.google_authorize_url)
    return f"{parts.scheme}://{parts.netloc}"


def is_issuer(way: ConsentWay, name: str) -> bool:
    """Return whether ``iss`` of a callback names the authorization server of a way."""
    expected = identity_issuer(way)
    return name == expected or name.startswith(f"{expected}/")


def operators_client(issuer: str) -> OAuthClient | None:
    """Return the client that the operator registered at an issuer, None if there is none."""
    config = current_config()
    if issuer == REHEARSAL:
        return rehearsal_client(config) if config.rehearsal else None
    return config.oauth.microsoft_client if issuer == MICROSOFT else config.oauth.google_client


def operators_secret(issuer: str, client_id: str) -> str:
    """Return the secret of the operator's client; empty if the operator uses another client by now."""
    client = operators_client(issuer)
    return client.secret if client is not None and client.id == client_id else ""


def rehearsal_url(config: Config) -> str:
    """Return the address of the rehearsal's authorization server, under a name of this machine as the portal has it."""
    host = "127.0.0.1" if config.host_name == "127.0.0.1" else "localhost"
    return f"http://{host}:{config.rehearsal_consent_port}"


def rehearsal_client(config: Config) -> OAuthClient:
    """Return the client of the rehearsal; its secret follows from the portal's, so that none has to be entered."""
    digest = hmac.digest(config.secret_key.encode(), b"the client of the rehearsal", "sha256")
    return OAuthClient("rehearsal", digest.hex())
