"""The reference of a message: an opaque text in its header X-Signet-Ref, by which a bounce or a provider's event names it.

It is the id of the message, encrypted as one block with a key that is derived from SECRET_KEY. So it needs no column and no
statement; it shows nothing, it cannot be guessed, and a text that was not made here decrypts to no id. A new SECRET_KEY makes
the references of earlier messages unreadable; these are then recognised by queue id or Message-ID only.
"""

from __future__ import annotations

import hashlib
import hmac
import threading

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ..state import current_config, get_state

HEADER = "X-Signet-Ref"
REFERENCE_CHARS = 32  # 128 bits in hexadecimal digits, which survive servers that change the case
_ID_BYTES = 8
_ZEROS = bytes(_ID_BYTES)  # the other half of the block, which proves that the text was made here
_PURPOSE = b"signet reference of a message"


class References:
    """Encrypts the ids of one app's messages."""

    def __init__(self, secret_key: str) -> None:
        key = hmac.new(secret_key.encode(), _PURPOSE, hashlib.sha256).digest()
        # One block that never repeats within a key: no mode could add anything. Blocks do not depend on each other, so one
        # encryptor serves all messages; making one costs many times as much as a block.
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        self._encryptor, self._decryptor, self._lock = (
            cipher.encryptor(),
            cipher.decryptor(),
            threading.Lock(),
        )

    def make(self, message_id: int) -> str:
        """Return the reference of a message."""
        block = _ZEROS + message_id.to_bytes(_ID_BYTES, "big")
        with self._lock:
            return self._encryptor.update(block).hex()

    def read(self, reference: str) -> int | None:
        """Return the id of the message, or None if the reference was not made with this key."""
        if len(reference) != REFERENCE_CHARS:
            return None
        try:
            sealed = bytes.fromhex(reference)
        except ValueError:
            return None
        if len(sealed) != len(_ZEROS) + _ID_BYTES:  # spaces between the digits
            return None
        with self._lock:
            block = self._decryptor.update(sealed)
        return int.from_bytes(block[_ID_BYTES:], "big") if block[:_ID_BYTES] == _ZEROS else None


def reference_of(message_id: int) -> str:
    """Return the reference of a message of this app."""
    return _references().make(message_id)


def read_reference(reference: str) -> int | None:
    """Return the id of the message with this reference, or None."""
    return _references().read(reference.strip())


def _references() -> References:
    return get_state().part(References, lambda: References(current_config().secret_key))
