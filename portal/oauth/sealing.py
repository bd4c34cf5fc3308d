"""Secrets of a grant at rest: sealed for one account, issuer, client and mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..state import vault
from .models import Purpose

if TYPE_CHECKING:
    from .models import OAuthGrant


def binding(grant: OAuthGrant) -> dict[str, str | int]:
    """Return the values that both secrets of a grant are sealed with."""
    purpose = {"purpose": Purpose.READ.value} if grant.purpose is Purpose.READ else {}
    return {
        **purpose,  # none for sending, whose secrets were sealed before there was another purpose
        "kind": "oauth-grant",
        "account": grant.account_id,
        "flow": str(grant.flow),
        "issuer": grant.issuer,
        "tenant": grant.tenant,
        "client": grant.client_id,
        "mailbox": grant.mailbox,
    }


def seal(grant: OAuthGrant, secret: str) -> bytes:
    """Return a secret sealed for a grant."""
    return vault().seal(secret, binding(grant))


def open_sealed(grant: OAuthGrant, sealed: bytes) -> str:
    """Return a secret of a grant. Raises DecryptionError."""
    return vault().open(sealed, binding(grant))
