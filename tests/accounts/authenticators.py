"""An authenticator that keeps passkeys (Web Authentication, ES256, attestation "none"), with faults on request."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN, HOST = "http://localhost", "localhost"
_PRESENT, _VERIFIED, _ATTESTED = 1, 4, 64


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """One passkey. Keywords of ``make`` and ``sign`` replace what an honest browser and authenticator state."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""
    count: int = 0

    def make(self, options: dict[str, Any], **faults: Any) -> str:
        """Answer options to add a passkey."""
        self.handle = decode(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        data = self._data(_ATTESTED, faults) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options, faults)
        return self._answer({"clientDataJSON": encode(client), "attestationObject": encode(attestation)})

    def sign(self, options: dict[str, Any], **faults: Any) -> str:
        """Answer options to use a passkey."""
        self.count = faults.get("count", self.count + 1)
        data, client = self._data(0, faults), self._client("webauthn.get", options, faults)
        signed = data + hashlib.sha256(client).digest()
        signature = faults.get("key", self.key).sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": encode(client),
                "authenticatorData": encode(data),
                "signature": encode(signature),
                "userHandle": encode(faults.get("handle", self.handle)),
            }
        )

    def _data(self, flags: int, faults: dict[str, Any]) -> bytes:
        flags |= _PRESENT | (_VERIFIED if faults.get("verified", True) else 0)
        host = hashlib.sha256(faults.get("host", HOST).encode()).digest()
        return host + bytes([flags]) + self.count.to_bytes(4, "big")

    @staticmethod
    def _client(kind: str, options: dict[str, Any], faults: dict[str, Any]) -> bytes:
        stated = {
            "type": faults.get("kind", kind),
            "challenge": faults.get("challenge", options["challenge"]),
            "origin": faults.get("origin", ORIGIN),
            "crossOrigin": False,
        }
        return json.dumps(stated).encode()

    def _answer(self, response: dict[str, str]) -> str:
        id_ = encode(self.id)
        answer = {
            "id": id_,
            "rawId": id_,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        }
        return json.dumps(answer)
