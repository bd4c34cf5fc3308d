"""Keys of service accounts: what is read of a file, what is refused, and the signed request."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey

from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import session_in_transaction
from portal.oauth import grants as operations
from portal.oauth import service_account
from portal.oauth.service_account import InvalidKey, read_key
from portal.oauth.tokens import GrantTokens
from tests.oauth.conftest import MAILBOX, Provider, service_account_key
from tests.outbox.support import new_account

# PKCS #8 with the algorithm 1.2.3.4, which does not exist.
PEM_OF_UNKNOWN_KIND = "-----BEGIN PRIVATE KEY-----\nMA4CAQAwBQYDKgMEBAIEAA==\n-----END PRIVATE KEY-----"


def pem_of(*numbers: int) -> str:
    """Return an RSA key of any numbers (RFC 8017, appendix A.1.2), which need not fit together."""
    octets = (number.to_bytes(number.bit_length() // 8 + 1, "big") for number in numbers)
    body = b"".join(der(0x02, one) for one in octets)
    encoded = base64.encodebytes(der(0x30, body)).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{encoded}-----END RSA PRIVATE KEY-----"


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes([size]) if size < 128 else bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + length + content


def changed(**changes: object) -> str:
    return json.dumps(json.loads(service_account_key()) | changes)


def test_a_key_is_read_and_its_token_uri_is_not_used(app: Flask) -> None:
    key = read_key("\ufeff" + service_account_key())
    assert (key.email, key.client_id) == ("mailer@brightleaf-mail.example", "104857600000000000001")
    assert read_key(key.as_text()) == key
    assert "PRIVATE KEY" not in repr(key)
    assert "evil.example" not in key.as_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not a key file"),
        ("hello", "not a key file"),
        ("[]", "not a key file"),
        ("[" * 15_000, "not a key file"),
        (" " * 30_000, "too long for a key file"),
        (json.dumps({"web": {"client_id": "x"}}), "OAuth client"),
        (json.dumps({"type": "authorized_user"}), "not a key of a service account"),
        (lambda: changed(private_key=""), "“private_key” is missing"),
        (lambda: changed(client_email=5), "“client_email” is missing"),
        (lambda: changed(client_email="no address"), "“client_email”"),
        (lambda: changed(client_id="x"), "“client_id” must be a number"),
        (
            lambda: changed(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            "cannot be read",
        ),
        (lambda: changed(private_key=PEM_OF_UNKNOWN_KIND), "cannot be read"),
    ],
)
def test_what_is_no_key_is_refused_with_a_sentence(app: Flask, text, sentence: str) -> None:
    with app.test_request_context(), pytest.raises(InvalidKey, match=sentence):
        read_key(text if isinstance(text, str) else text())


def test_a_key_far_larger_than_googles_is_refused(app: Flask) -> None:
    """To test a large factor for being prime takes minutes. The second key has one, beside a modulus of the usual size."""
    large = rsa.generate_private_key(public_exponent=65537, key_size=4104)
    pem = large.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    prime = (1 << 9689) - 1
    lopsided = pem_of(0, (1 << 2048) - 1, 65537, 65537, prime, 3, 3, 3, 3)
    for text in (pem, lopsided):
        with app.test_request_context(), pytest.raises(InvalidKey, match="cannot be read"):
            read_key(changed(private_key=text))


@pytest.mark.both_databases
def test_the_request_is_signed_while_no_transaction_is_open(
    app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = operations.new_service_account(new_account(), read_key(service_account_key()), mailbox=MAILBOX)
    operations.add(grant, "Ada", now=utcnow())
    db.session.commit()
    sign, seen = service_account.sign_request, []

    def watch(*values: Any, **more: Any) -> str:
        seen.append(session_in_transaction())
        return sign(*values, **more)

    monkeypatch.setattr(service_account, "sign_request", watch)
    assert GrantTokens(grant.id).fetch().secret.reveal() == "canary-token-1"
    assert seen == [False]


@pytest.mark.both_databases
def test_the_request_is_a_jwt_for_the_mailbox(app: Flask, provider: Provider) -> None:
    grant = operations.new_service_account(new_account(), read_key(service_account_key()), mailbox=MAILBOX)
    operations.add(grant, "Ada", now=utcnow())
    db.session.commit()
    assert GrantTokens(grant.id).fetch().secret.reveal() == "canary-token-1"
    ((path, form),) = provider.issuer.requests
    assert path == "/token"
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    public = RSAKey.import_key(json.loads(service_account_key())["private_key"])
    claims = jwt.decode(form["assertion"], public, algorithms=["RS256"]).claims
    assert claims.pop("exp") - claims["iat"] == 3600
    assert abs(claims.pop("iat") - utcnow().timestamp()) < timedelta(minutes=5).total_seconds()
    assert claims == {
        "iss": "mailer@brightleaf-mail.example",
        "sub": MAILBOX,
        "scope": "https://mail.google.com/",
        "aud": "https://oauth2.googleapis.com/token",
    }
