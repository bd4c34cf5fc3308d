"""Keys in the addresses of an affiliate's pages: sealed for the emails that carry them, hashed for the look-up.

A copy of the table opens no page: the vault's keys are outside the database, and a hash does not lead back to its key.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..state import vault

if TYPE_CHECKING:
    from .models import Affiliate

_HASH_CHARS = 40  # 160 bits of SHA-256, in hexadecimal digits: enough for keys of 192 random bits


@dataclass(frozen=True)
class PageKeys:
    """``dashboard`` opens the dashboard, ``preferences`` the preferences and the one-click unsubscribe."""

    dashboard: str = field(repr=False)
    preferences: str = field(repr=False)


def binding(affiliate: Affiliate) -> dict[str, str | int]:
    """Return the values that the keys are sealed with. They are known before the row has an id; see ``give_code``."""
    return {"kind": "affiliate-page-keys", "account": affiliate.account_id, "code": affiliate.code}


def assign(affiliate: Affiliate) -> PageKeys:
    """Give an affiliate new keys of 24 random bytes each, and return them. The caller commits."""
    keys = PageKeys(secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    affiliate.sealed_page_keys = vault().seal(f"{keys.dashboard}\n{keys.preferences}", binding(affiliate))
    affiliate.dashboard_key_hash = hash_key(keys.dashboard)
    affiliate.preferences_key_hash = hash_key(keys.preferences)
    return keys


def give_code(affiliate: Affiliate, code: str) -> None:
    """Set the code, and seal the keys for it: they are sealed with the code, and stay the same. The caller commits."""
    keys = open_keys(affiliate)
    affiliate.code = code
    affiliate.sealed_page_keys = vault().seal(f"{keys.dashboard}\n{keys.preferences}", binding(affiliate))


def open_keys(affiliate: Affiliate) -> PageKeys:
    """Return the keys of an affiliate. Raises DecryptionError."""
    dashboard, _, preferences = vault().open(affiliate.sealed_page_keys, binding(affiliate)).partition("\n")
    return PageKeys(dashboard, preferences)


def hash_key(key: str) -> str:
    """Return the hash by which the owner of a key is found."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
