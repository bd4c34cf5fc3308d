"""Fixtures of the connections: a token endpoint, a mail server under the providers' names, and completed forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import select

from portal.accounts.models import Account
from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.oauth.models import OAuthGrant
from portal.rate_limit import consume
from portal.smtp.network.guard import EgressPolicy, HostOverride, PrivateTarget
from portal.tuning import Tuning
from portal.web.owner_limits import CHECKS
from tests.conftest import make_config
from tests.oauth.issuer import Issuer, serve_tokens
from tests.settings.conftest import LIMITS
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

MICROSOFT, GOOGLE = "/settings/connect/microsoft-365", "/settings/connect/google-workspace"
TENANT, CLIENT = "7f8a1b2c-0000-4000-8000-0123456789ab", "11112222-3333-4444-5555-666677778888"
SECRET = "canary~Client-Secret.1234567890abcdef"
MAILBOX = "affiliates@brightleaf.example"
FORM = {
    "mailbox": MAILBOX,
    "tenant": TENANT,
    "client_id": CLIENT,
    "client_secret": SECRET,
    "secret_expires_on": "2027-03-01",
    "object_id": "",
}


@pytest.fixture(autouse=True)
def _not_at_the_end_of_an_hour() -> Iterator[time_machine.Traveller]:
    with time_machine.travel("2026-12-28 09:01:00+00:00") as traveller:
        yield traveller


@dataclass
class Provider:
    """The issuer and the mail server of one provider."""

    issuer: Issuer
    smtp: BadServer


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Issuer() as issuer, BadServer(lambda peer: serve_tokens(issuer, peer)) as smtp:
        yield Provider(issuer, smtp)


@pytest.fixture
def config(tmp_path: Path, provider: Provider, tuning: Tuning) -> Config:
    """The providers' names lead to the mail server on loopback, their token endpoints to the issuer."""
    url, loopback = f"http://127.0.0.1:{provider.issuer.port}", ip_address("127.0.0.1")
    env = {
        "SIGNET_MICROSOFT_LOGIN_URL": url,
        "SIGNET_GOOGLE_TOKEN_URL": f"{url}/token",
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{provider.issuer.port}:plaintext",
    }
    policy = EgressPolicy(
        private_targets=(PrivateTarget(ip_network("127.0.0.1/32"), provider.smtp.port),),
        ca_file=badserver.ca_file(),
        host_overrides=tuple(
            HostOverride(name, 587, loopback, provider.smtp.port)
            for name in ("smtp.office365.com", "smtp.gmail.com")
        ),
    )
    return make_config(
        tmp_path / "instance", env=env, lease=600.0, limits=LIMITS, policy=policy, tuning=tuning
    )


def grants() -> list[OAuthGrant]:
    """Return all grants in their present state, detached from the session."""
    db.session.rollback()
    rows = list(db.session.scalars(select(OAuthGrant).order_by(OAuthGrant.id)))
    db.session.expunge_all()
    db.session.rollback()
    return rows


def new_grant(account_id: int) -> int:
    """Store a grant by client credentials and return its id."""
    from portal.oauth import grants as operations

    grant = operations.new_app_only(account_id, operations.AppOnly(MAILBOX, TENANT, CLIENT, SECRET, None))
    operations.add(grant, "Ada", now=utcnow())
    grant_id = grant.id
    db.session.commit()
    return grant_id


def use_up_the_checks(left: int = 0) -> None:
    """Count checks of the only account until so many are left in this hour."""
    account_id = db.session.scalars(select(Account.id)).one()
    for _ in range(CHECKS.amount - left):
        assert consume(CHECKS, account_id, now=utcnow())
    db.session.commit()


@cache
def service_account_key() -> str:
    """Return the JSON file of a service account, with a private key that was made for this run."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "brightleaf-mail",
            "private_key_id": "0a1b2c3d",
            "private_key": pem,
            "client_email": "mailer@brightleaf-mail.example",
            "client_id": "104857600000000000001",
            "token_uri": "https://evil.example/token",
        }
    )
