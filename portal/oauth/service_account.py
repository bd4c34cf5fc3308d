"""Keys of Google service accounts: read from the JSON file that Google gives out, and the signed request for a token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from flask_babel import gettext as _
from joserfc import jwt
from joserfc.jwk import RSAKey

from ..smtp.mailbox import MailboxError, parse_mailbox

if TYPE_CHECKING:
    from datetime import datetime

MAX_KEY_CHARS = 20_000  # Google's have about 2,400
_MIN_KEY_BITS, _MAX_KEY_BITS = 2048, 4096  # Google's have 2048
_LIFETIME_S = 3600  # the most that Google accepts


class InvalidKey(ValueError):
    """The text is no usable key; the message is a sentence for the page and repeats nothing of the text."""


@dataclass(frozen=True)
class ServiceAccountKey:
    """The parts of a key file that a request needs.

    ``token_uri`` of the file is not among them: requests go to the configured endpoint only.
    """

    email: str
    client_id: str  # a number; the administrator authorises it
    key_id: str
    private_key: str = field(repr=False)  # PEM

    def as_text(self) -> str:
        """Return the key as it is sealed."""
        return json.dumps(
            {
                "client_email": self.email,
                "client_id": self.client_id,
                "private_key_id": self.key_id,
                "private_key": self.private_key,
                "type": "service_account",
            }
        )


def read_key(text: str) -> ServiceAccountKey:
    """Return the key of a JSON file. Raises InvalidKey."""
    values = _parse(text)
    kind = values.get("type")
    if kind != "service_account":
        if "web" in values or "installed" in values:
            raise InvalidKey(
                _("This is the file of an OAuth client. Create a key of a service account instead.")
            )
        raise InvalidKey(_("This is not a key of a service account: its “type” is not “service_account”."))
    found = {}
    for name in ("client_email", "client_id", "private_key_id", "private_key"):
        value = values.get(name)
        if not isinstance(value, str) or not value.isascii() or not value.strip():
            raise InvalidKey(_("The key file is incomplete: “%(name)s” is missing.", name=name))
        found[name] = value.strip()
    try:
        email = parse_mailbox(found["client_email"])
    except MailboxError:
        raise InvalidKey(_("The key file has no service account in “client_email”.")) from None
    if not found["client_id"].isdigit() or len(found["client_id"]) > 40:
        raise InvalidKey(_("The key file has no client ID: “client_id” must be a number."))
    _check_private_key(found["private_key"])
    return ServiceAccountKey(
        str(email), found["client_id"], found["private_key_id"][:100], found["private_key"]
    )


def sign_request(key: ServiceAccountKey, *, mailbox: str, scope: str, audience: str, now: datetime) -> str:
    """Return the signed JWT that asks for a token of ``mailbox`` (RFC 7523 section 2.1)."""
    issued = int(now.timestamp())
    claims = {
        "iss": key.email,
        "sub": mailbox,
        "scope": scope,
        "aud": audience,
        "iat": issued,
        "exp": issued + _LIFETIME_S,
    }
    return jwt.encode({"alg": "RS256", "kid": key.key_id}, claims, RSAKey.import_key(key.private_key))


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_KEY_CHARS:
        raise InvalidKey(_("This is too long for a key file."))
    try:
        values = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidKey(_("This is not a key file. Use the whole JSON file from Google."))
    return values


def _check_private_key(pem: str) -> None:
    """Raise InvalidKey for a key that cannot sign.

    The library tests the two factors for being prime, which takes minutes for large ones: sizes come first.
    """
    octets, is_usable = pem.encode("ascii"), False
    try:
        unchecked = load_pem_private_key(octets, password=None, unsafe_skip_rsa_key_validation=True)
        if isinstance(unchecked, RSAPrivateKey) and _has_usual_size(unchecked):
            load_pem_private_key(octets, password=None)
            is_usable = True
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted with a password
        pass
    if not is_usable:
        raise InvalidKey(_("The private key in this file cannot be read. Download the key file again."))


def _has_usual_size(key: RSAPrivateKey) -> bool:
    numbers = key.private_numbers()
    factor_bits = max(numbers.p.bit_length(), numbers.q.bit_length())
    return _MIN_KEY_BITS <= key.key_size <= _MAX_KEY_BITS and factor_bits <= key.key_size
