"""Encryption of secrets at rest: AES-256-GCM with a binding as associated data, under a keyring that can be rotated.

A blob is ``0x01 | length of key id | key id | 12-byte nonce | ciphertext and tag``. The binding names what the secret
belongs to (row, account, server) and is authenticated with it, so a password copied to another row, account or server
fails to decrypt, without a check that code could omit.
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
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MIN_DIFFERENT_OCTETS = 12  # a random key of 32 octets practically never has fewer


class DecryptionError(Exception):
    """The blob cannot be decrypted: moved, changed, or sealed under a key that is not in the keyring."""


class KeyMissing(DecryptionError):
    """The blob was sealed under a key that is not in the keyring; adding the key back makes it readable."""


class KeyringError(Exception):
    """The keyring is invalid; the message gives the reason and never contains a key."""


def new_key() -> str:
    """Return a new keyring entry ``id:base64`` of 32 random bytes."""
    return f"k{base64.b32encode(os.urandom(5)).decode().lower()}:{base64.b64encode(os.urandom(32)).decode()}"


class Vault:
    """Encrypts ("seals") with the first key of the keyring and decrypts ("opens") with any of its keys."""

    def __init__(self, keyring: str, secret_key: str = "") -> None:
        self._keys: dict[str, AESGCM] = {}
        self._guessable: set[str] = set()
        for entry in filter(None, (part.strip() for part in re.split(r"[;\n]", keyring))):
            id_, colon, encoded = entry.partition(":")
            if not colon:  # the entry may be the key itself, so the message does not repeat it
                raise KeyringError("A key of the keyring has no id; write id:base64.")
            self._add(id_.strip(), encoded.strip(), secret_key)
        if not self._keys:
            raise KeyringError("The keyring holds no key.")
        self._writer = next(iter(self._keys))

    def _add(self, id_: str, encoded: str, secret_key: str) -> None:
        if not id_ or not id_.isascii() or len(id_) > 64:
            raise KeyringError("A key of the keyring has no id; write id:base64.")
        if id_ in self._keys:
            raise KeyringError(f"The keyring holds the id {id_} twice.")
        if secret_key and hmac.compare_digest(encoded.encode(), secret_key.encode()):
            raise KeyringError(f"Key {id_} is the SECRET_KEY; they must differ.")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise KeyringError(f"Key {id_} is not base64.") from None
        if secret_key and hmac.compare_digest(key, secret_key.encode()):
            raise KeyringError(f"Key {id_} is the SECRET_KEY; they must differ.")
        if len(key) != 32:
            raise KeyringError(f"Key {id_} has {len(key)} bytes; it must have 32.")
        self._keys[id_] = AESGCM(key)
        if len(set(key)) < _MIN_DIFFERENT_OCTETS:
            self._guessable.add(id_)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys; the first one seals."""
        return tuple(self._keys)

    @property
    def seals_with_guessable_key(self) -> bool:
        """Whether the first key is obviously not random."""
        return self._writer in self._guessable

    @property
    def prefix(self) -> bytes:
        """The first bytes of every blob that the first key seals."""
        return bytes([_VERSION, len(self._writer)]) + self._writer.encode()

    def __repr__(self) -> str:
        return f"Vault({len(self._keys)} keys)"

    def seal(self, secret: str, binding: Mapping[str, str | int]) -> bytes:
        """Return ``secret`` encrypted for ``binding``, whose names and values must be equal when it is opened."""
        nonce = os.urandom(_NONCE_BYTES)
        body = self._keys[self._writer].encrypt(nonce, secret.encode("utf-8", "surrogatepass"), _aad(binding))
        return self.prefix + nonce + body

    def open(self, blob: bytes, binding: Mapping[str, str | int]) -> str:
        """Return the secret. Raises DecryptionError if it was not sealed for exactly this binding."""
        key, id_end = self._keys.get(key_id(blob)), 2 + blob[1]
        if key is None:
            raise KeyMissing("sealed under a key that is not in the keyring")
        nonce, body = blob[id_end : id_end + _NONCE_BYTES], blob[id_end + _NONCE_BYTES :]
        try:
            return key.decrypt(nonce, body, _aad(binding)).decode("utf-8", "surrogatepass")
        except InvalidTag:
            raise DecryptionError("sealed for something else, or changed since") from None


def key_id(blob: bytes) -> str:
    """Return the id of the key that sealed a blob. Raises DecryptionError if it is not a sealed secret."""
    end = 2 + blob[1] if len(blob) > 1 else 0
    if not end or blob[0] != _VERSION or len(blob) < end + _NONCE_BYTES + _TAG_BYTES:
        raise DecryptionError("not a sealed secret")
    return blob[2:end].decode("ascii", "replace")


def _aad(binding: Mapping[str, str | int]) -> bytes:
    """Serialise the binding unambiguously: every name and value is prefixed with its length."""
    parts = []
    for name in sorted(binding):
        for text in (name, f"{type(binding[name]).__name__}={binding[name]}"):
            raw = text.encode("utf-8")
            parts.append(len(raw).to_bytes(4, "big") + raw)
    return b"signet-v1" + b"".join(parts)
