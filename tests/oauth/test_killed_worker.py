"""A worker killed between the answer of the token endpoint and its commit: the rotated token is lost with it.

An issuer that keeps the old refresh token valid for a while, as Microsoft does, gives another one. An issuer that revokes
the consent when an old one comes again ends it: mail is held by one incident, and connecting again releases it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.incidents.models import Incident
from portal.oauth.models import OAuthGrant
from portal.oauth.tokens import GrantTokens
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from tests.oauth.conftest import Provider, grants
from tests.oauth.test_consent import Consent, come_back, config, connected, consent
from tests.outbox.support import enqueue_message, message
from tests.pages import LintingClient
from tests.settings.conftest import versions, work

__all__ = ["config", "connected"]
pytestmark = [pytest.mark.both_databases, pytest.mark.thorough]
_KILLED = """
import os, signal, sys
from portal import create_app
from portal.oauth import tokens

# The answer was read, and nothing of it is stored yet.
tokens._store = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with create_app().app_context():
    tokens.GrantTokens(int(sys.argv[1])).fetch()
"""


def kill_a_refresh(config: Config, provider: Provider) -> None:
    """Let a process refresh the expired token and be killed before it stores the answer."""
    db.session.execute(update(OAuthGrant).values(sealed_access=None, access_expires_at=None))
    db.session.commit()
    (grant,) = grants()
    env = {
        "SECRET_KEY": config.secret_key,
        "SIGNET_KEYS": config.keyring,
        "DATABASE_URL": config.database_url,
        "SIGNET_INSTANCE": str(config.instance),
        "SIGNET_MICROSOFT_LOGIN_URL": config.oauth.microsoft_login_url,
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{provider.issuer.port}:plaintext",
    }
    before = len(provider.issuer.requests)
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, str(grant.id)],
        env=os.environ | env,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert len(provider.issuer.requests) == before + 1, "the answer was given"
    (after,) = grants()
    assert (after.generation, after.sealed_refresh) == (grant.generation, grant.sealed_refresh)
    assert after.lease_until is not None, "the lease of the killed worker"
    db.session.execute(update(OAuthGrant).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()


def test_the_next_refresh_succeeds_where_the_old_token_is_still_valid(
    app: Flask, connected: Consent, provider: Provider, config: Config
) -> None:
    connected.keeps_previous = True
    kill_a_refresh(config, provider)
    token = GrantTokens(grants()[0].id).fetch()
    assert token.secret.reveal() in provider.issuer.valid
    id_ = enqueue_message(versions()[0].account_id, "one")
    drain_queue(versions()[0].account_id)
    assert message(id_).status is Status.SENT
    assert not connected.is_revoked


def test_one_incident_asks_to_connect_again_where_it_is_not(
    app: Flask, owner: LintingClient, connected: Consent, provider: Provider, config: Config
) -> None:
    kill_a_refresh(config, provider)
    account = versions()[0].account_id
    ids = [enqueue_message(account, name) for name in ("one", "two")]
    drain_queue(account)
    drain_queue(account)
    assert connected.is_revoked, "the issuer saw the old token a second time"
    assert {message(id_).status for id_ in ids} <= {Status.HELD, Status.QUEUED}
    (incident,) = db.session.scalars(select(Incident)).all()
    assert incident.is_open
    assert incident.diagnosis["fixes"][0] == "Connect this mailbox again."
    db.session.rollback()
    again = consent(owner, provider)
    assert come_back(owner, again).status_code == 303
    work()
    drain_queue(account)
    assert [message(id_).status for id_ in ids] == [Status.SENT, Status.SENT]
