"""Random tokens: the holder keeps the token, the tables keep only its SHA-256."""

from __future__ import annotations

import hashlib
import secrets


def new_token() -> str:
    """Return 32 random bytes as 43 characters that are safe in an address."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return what is stored for a token. A plain hash is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
