"""Seals secrets at rest: AES-256-GCM, bound to where they belong, under a keyring that can rotate.

A blob is ``0x01 | length of key id | key id | 12-byte nonce | ciphertext and tag``. What it belongs to
(its binding) is authenticated with it, so that a password moved to another row, account or server
does not open: that is a decryption error, not an ``if`` somebody can forget.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = 1
_NONCE = 12
_TAG = 16


class SealBroken(Exception):
    """The blob does not open: moved, changed, or sealed under a key that is not here."""


class KeyMissing(SealBroken):
    """It was sealed under a key that is not in the keyring: put back, that key opens it."""


class KeyringError(Exception):
    """The keyring itself cannot be used; the message says why and never shows a key."""


def new_key() -> str:
    """Return a fresh keyring entry ``id:base64`` of 32 random bytes."""
    return f"k{base64.b32encode(os.urandom(5)).decode().lower()}:{base64.b64encode(os.urandom(32)).decode()}"


class Vault:
    """Opens and seals. The first key of the ring writes; every key reads."""

    def __init__(self, keyring: str, secret_key: str = "") -> None:
        self._keys: dict[str, AESGCM] = {}
        for entry in filter(None, (part.strip() for part in re.split(r"[;\n]", keyring))):
            ident, colon, encoded = entry.partition(":")
            if not colon:  # what stands there may be the key itself, so it is not repeated
                raise KeyringError("A key of the keyring has no id; write id:base64.")
            self._add(ident.strip(), encoded.strip(), secret_key)
        if not self._keys:
            raise KeyringError("The keyring holds no key.")
        self._writer = next(iter(self._keys))

    def _add(self, ident: str, encoded: str, secret_key: str) -> None:
        if not ident or not ident.isascii() or len(ident) > 64:
            raise KeyringError("A key of the keyring has no id; write id:base64.")
        if ident in self._keys:
            raise KeyringError(f"The keyring holds the id {ident} twice.")
        if secret_key and hmac.compare_digest(encoded.encode(), secret_key.encode()):
            raise KeyringError(f"Key {ident} is the SECRET_KEY; they must differ.")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise KeyringError(f"Key {ident} is not base64.") from None
        if secret_key and hmac.compare_digest(key, secret_key.encode()):
            raise KeyringError(f"Key {ident} is the SECRET_KEY; they must differ.")
        if len(key) != 32:
            raise KeyringError(f"Key {ident} has {len(key)} bytes; it must have 32.")
        self._keys[ident] = AESGCM(key)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the ring's keys; the first one writes."""
        return tuple(self._keys)

    @property
    def mark(self) -> bytes:
        """How every blob begins that the first key seals."""
        return bytes([_VERSION, len(self._writer)]) + self._writer.encode()

    def __repr__(self) -> str:
        return f"Vault({len(self._keys)} keys)"

    def seal(self, secret: str, binding: Mapping[str, str | int]) -> bytes:
        """Return ``secret`` sealed for ``binding``, whose names and values must be the same to open it."""
        nonce = os.urandom(_NONCE)
        body = self._keys[self._writer].encrypt(nonce, secret.encode("utf-8", "surrogatepass"), _aad(binding))
        return self.mark + nonce + body

    def open(self, blob: bytes, binding: Mapping[str, str | int]) -> str:
        """Return the secret. Raises SealBroken when it was not sealed for exactly this binding."""
        key, ident_end = self._keys.get(key_id(blob)), 2 + blob[1]
        if key is None:
            raise KeyMissing("sealed under a key that is not in the keyring")
        nonce, body = blob[ident_end : ident_end + _NONCE], blob[ident_end + _NONCE :]
        try:
            return key.decrypt(nonce, body, _aad(binding)).decode("utf-8", "surrogatepass")
        except InvalidTag:
            raise SealBroken("sealed for something else, or changed since") from None


def key_id(blob: bytes) -> str:
    """Return the id of the key a blob is sealed under. Raises SealBroken when it is no sealed secret."""
    end = 2 + blob[1] if len(blob) > 1 else 0
    if not end or blob[0] != _VERSION or len(blob) < end + _NONCE + _TAG:
        raise SealBroken("not a sealed secret")
    return blob[2:end].decode("ascii", "replace")


def _aad(binding: Mapping[str, str | int]) -> bytes:
    """Serialise the binding so that no two different ones look alike: every part carries its length."""
    parts = []
    for name in sorted(binding):
        for text in (name, f"{type(binding[name]).__name__}={binding[name]}"):
            raw = text.encode("utf-8")
            parts.append(len(raw).to_bytes(4, "big") + raw)
    return b"signet-v1" + b"".join(parts)
