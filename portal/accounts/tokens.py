"""Random tokens for links and cookies. The tables store only their SHA-256."""

from __future__ import annotations

import hashlib
import secrets


class InvalidLink(Exception):
    """The link in an email was never issued, has expired or was used."""


def new_token() -> str:
    """Return 32 random bytes as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the hash stored for a token. Plain SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
