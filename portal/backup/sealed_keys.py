"""The keys in a file sealed with a passphrase: scrypt derives the key, AES-256-GCM encrypts.

The file is JSON with ``format``, which fixes the parameters, and ``salt``, ``nonce`` and ``sealed`` in Base64. scrypt
runs with n = 2^17, r = 8, p = 1 (OWASP Password Storage Cheat Sheet) and needs 128 MiB of memory, so that each guess
of a passphrase is expensive.
"""

from __future__ import annotations

import base64
import json
import os
import unicodedata
from dataclasses import asdict, dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from . import BackupError

MIN_PASSPHRASE_CHARS = 12
_FORMAT = "signet-keys-1"  # also the associated data, so that no other file of ours opens as one of keys
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Keys:
    """The secrets that an instance cannot make anew."""

    secret_key: str = field(repr=False)
    keyring: str = field(repr=False)


def seal(keys: Keys, passphrase: str) -> bytes:
    """Return the content of the file. Raises BackupError for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise BackupError(f"The passphrase is too short; it needs {MIN_PASSPHRASE_CHARS} characters or more.")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    body = AESGCM(_derive(passphrase, salt)).encrypt(
        nonce, json.dumps(asdict(keys)).encode(), _FORMAT.encode()
    )
    parts = {"salt": salt, "nonce": nonce, "sealed": body}
    encoded = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    return json.dumps({"format": _FORMAT, **encoded}, indent=1).encode() + b"\n"


def unseal(data: bytes, passphrase: str) -> Keys:
    """Return the keys. Raises BackupError if the data are no sealed keys, or not sealed with this passphrase."""
    salt, nonce, body = _parts(data)
    try:
        opened = AESGCM(_derive(passphrase, salt)).decrypt(nonce, body, _FORMAT.encode())
    except InvalidTag:
        raise BackupError(
            "The passphrase is not the one of this file of keys, or the file is damaged."
        ) from None
    return Keys(**json.loads(opened))


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    wrong = BackupError("The file of keys is damaged, or was not made by `flask backup`.")
    if len(data) > _MAX_BYTES:
        raise wrong
    try:
        values = json.loads(data)
        if values["format"] != _FORMAT:
            raise wrong
        salt, nonce, body = (
            base64.b64decode(values[name], validate=True) for name in ("salt", "nonce", "sealed")
        )
    except (ValueError, KeyError, TypeError):
        raise wrong from None
    if len(salt) != _SALT_BYTES or len(nonce) != _NONCE_BYTES:
        raise wrong
    return salt, nonce, body


def _derive(passphrase: str, salt: bytes) -> bytes:
    # The same passphrase typed on another system may be composed of other code points.
    octets = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    return Scrypt(salt=salt, length=_KEY_BYTES, n=2**17, r=8, p=1).derive(octets)
