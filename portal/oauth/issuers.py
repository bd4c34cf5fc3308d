"""The authorization servers: where tokens are fetched, and with which scope.

Sources: learn.microsoft.com, "Authenticate an IMAP, POP or SMTP connection using OAuth";
developers.google.com, "OAuth 2.0 mechanism" and "Using OAuth 2.0 for server to server applications".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..state import current_config

if TYPE_CHECKING:
    from .models import OAuthGrant

MICROSOFT, GOOGLE = "microsoft", "google"
GOOGLE_AUDIENCE = (
    "https://oauth2.googleapis.com/token"  # of a service account's request, wherever it is posted
)


@dataclass(frozen=True)
class Issuer:
    """One authorization server. ``scope`` is what sending over SMTP needs."""

    id: str
    name: str
    scope: str


_ISSUERS = {
    MICROSOFT: Issuer(MICROSOFT, "Microsoft", "https://outlook.office365.com/.default"),
    GOOGLE: Issuer(GOOGLE, "Google", "https://mail.google.com/"),
}


def issuer_of(grant: OAuthGrant) -> Issuer:
    """Return the authorization server of a grant."""
    return _ISSUERS[grant.issuer]


def token_url(grant: OAuthGrant) -> str:
    """Return the address of the token endpoint. The tenant was validated when the grant was made."""
    if grant.issuer == MICROSOFT:
        return f"{current_config().microsoft_login_url}/{grant.tenant}/oauth2/v2.0/token"
    return current_config().google_token_url
