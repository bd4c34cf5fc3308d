"""Addresses in emails: the affiliate's pages, the public link, and how links with tokens are hidden from the owner."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..shop_links import affiliate_link
from . import page_keys
from .models import AffiliateState

if TYPE_CHECKING:
    from ..config import Config
    from ..shop_links import LinkedAccount
    from .models import Affiliate

_TOKEN_KINDS = frozenset(
    {"confirm-sign-up", "confirm-new-address", "invited", "confirm-mailbox", "dashboard-link"}
)
_HIDDEN = "hidden-link"
# Matches a token anywhere in the owner's own text, also when cut. No word of a text or style sheet is as long.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{30,}")
# The keys of the pages that act without a log-in: for an affiliate, for a mailbox of the owner, or for a test email.
_ACTING = re.compile(
    r"(/(?:affiliate|preferences|unsubscribe|automated-emails/unsubscribe|arrived)/)[A-Za-z0-9_.-]{20,}"
)


def public_url(affiliate: Affiliate, account: LinkedAccount, config: Config) -> str:
    """Return the affiliate's public link; empty while there is no shop address, and for an erased person's blank row."""
    has_link = bool(account.shop_url) and affiliate.state is not AffiliateState.ERASED
    return affiliate_link(account, affiliate.code, config) if has_link else ""


def dashboard_url(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the affiliate's dashboard. The address is the credential."""
    return f"{config.base_url}/affiliate/{page_keys.open_keys(affiliate).dashboard}"


def preferences_url(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the page where the affiliate chooses which emails to get."""
    return f"{config.base_url}/preferences/{page_keys.open_keys(affiliate).preferences}"


def unsubscribe_url(affiliate: Affiliate, kind: str, config: Config) -> str:
    """Return the one-click unsubscribe address for emails of this kind (RFC 8058)."""
    return f"{config.base_url}/unsubscribe/{page_keys.open_keys(affiliate).preferences}/{kind}"


def owner_page_url(affiliate: Affiliate, config: Config) -> str:
    """Return the address of the owner's page about an affiliate. It is known before the affiliate has an id."""
    return f"{config.base_url}/affiliates/by-code/{affiliate.code}"


def holds_token(kind: str) -> bool:
    """Return whether emails of this kind contain a link that acts in the affiliate's name."""
    return kind in _TOKEN_KINDS


def redact_tokens(kind: str, text: str, *, also_keys: bool = False) -> str:
    """Return the body of an email as the owner may see it, without tokens.

    ``also_keys`` leaves out the keys of all pages that act without a log-in, for readers who may change nothing.
    """
    shown = _TOKEN.sub(_HIDDEN, text) if holds_token(kind) else text
    return _ACTING.sub(rf"\1{_HIDDEN}", shown) if also_keys else shown
