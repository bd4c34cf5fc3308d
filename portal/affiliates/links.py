"""The addresses that emails lead to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..accounts.models import Account
    from ..config import Config
    from .models import Affiliate

_TOKEN_KINDS = frozenset({"confirm-sign-up", "invited"})
_HIDDEN = "hidden-link"
# Wherever the owner's own text has put it, and however cut. No word of a text or a style is as long.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{30,}")


def public_url(affiliate: Affiliate, account: Account, config: Config) -> str:
    """Return the affiliate's public link."""
    return f"{config.base_url}/join/{account.slug}?ref={affiliate.code}"


def dashboard_url(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the affiliate's private page; whoever knows it may open it."""
    return f"{config.base_url}/affiliate/{affiliate.dashboard_key}"


def preferences_url(affiliate: Affiliate, config: Config) -> str:
    """Return the address under which the affiliate chooses what to hear of."""
    return f"{config.base_url}/preferences/{affiliate.preferences_key}"


def unsubscribe_url(affiliate: Affiliate, kind: str, config: Config) -> str:
    """Return the address where one POST ends emails of this kind (RFC 8058)."""
    return f"{config.base_url}/unsubscribe/{affiliate.preferences_key}/{kind}"


def owner_page_url(affiliate: Affiliate, config: Config) -> str:
    """Return an address of the owner's page about an affiliate, which is known before the affiliate has a number."""
    return f"{config.base_url}/affiliates/by-code/{affiliate.code}"


def holds_token(kind: str) -> bool:
    """Whether emails of this kind hold a link that acts in the affiliate's name."""
    return kind in _TOKEN_KINDS


def redact_tokens(kind: str, text: str) -> str:
    """Return a body as the owner may see it."""
    return _TOKEN.sub(_HIDDEN, text) if holds_token(kind) else text
