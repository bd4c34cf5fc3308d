"""The addresses that emails lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..accounts.models import Account
    from ..config import Config
    from .models import Affiliate


def link_of(affiliate: Affiliate, account: Account, config: Config) -> str:
    """Return the affiliate's public link."""
    return f"{config.base_url}/join/{account.slug}?ref={affiliate.code}"


def dashboard_of(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the affiliate's private page; whoever knows it may open it."""
    return f"{config.base_url}/affiliate/{affiliate.dashboard_key}"


def preferences_of(affiliate: Affiliate, config: Config) -> str:
    """Return the address under which the affiliate chooses what to hear of."""
    return f"{config.base_url}/preferences/{affiliate.preferences_key}"


def unsubscribe_of(affiliate: Affiliate, kind: str, config: Config) -> str:
    """Return the address where one POST ends emails of this kind (RFC 8058)."""
    return f"{config.base_url}/unsubscribe/{affiliate.preferences_key}/{kind}"


def page_of(affiliate: Affiliate, config: Config) -> str:
    """Return an address of the owner's page about an affiliate, which is known before the affiliate has a number."""
    return f"{config.base_url}/affiliates/by-code/{affiliate.code}"
