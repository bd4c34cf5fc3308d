"""Keys of service accounts: what is read of a file, what is refused, and the signed request."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey

from portal.clock import utcnow
from portal.db import db
from portal.oauth import grants as operations
from portal.oauth.service_account import InvalidKey, read_key
from portal.oauth.tokens import GrantTokens
from tests.oauth.conftest import MAILBOX, Provider, service_account_key
from tests.outbox.support import new_account


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
        ("", "no key file"),
        ("hello", "no key file"),
        ("[]", "no key file"),
        ("[" * 15_000, "no key file"),
        (" " * 30_000, "far longer"),
        (json.dumps({"web": {"client_id": "x"}}), "OAuth client"),
        (json.dumps({"type": "authorized_user"}), "no key of a service account"),
        (lambda: changed(private_key=""), "“private_key” is missing"),
        (lambda: changed(client_email=5), "“client_email” is missing"),
        (lambda: changed(client_email="no address"), "“client_email”"),
        (lambda: changed(client_id="x"), "“client_id” has to be a number"),
        (
            lambda: changed(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            "cannot be read",
        ),
    ],
)
def test_what_is_no_key_is_refused_with_a_sentence(app: Flask, text, sentence: str) -> None:
    with app.test_request_context(), pytest.raises(InvalidKey, match=sentence):
        read_key(text if isinstance(text, str) else text())


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
