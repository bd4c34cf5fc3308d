"""Connecting by consent with servers made by others: oidc-provider as issuer, and Dovecot, which asks it about each token."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from html import unescape
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.config import Config
from portal.db import db
from portal.incidents.models import Incident
from portal.oauth.models import OAuthGrant
from portal.oauth.tokens import GrantTokens
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.smtp.failure import Stage, SubmissionFailure
from portal.smtp.network.guard import EgressPolicy, HostOverride, PrivateTarget
from portal.smtp.protocol.session import Session
from portal.smtp.server import Mechanism, Security, Server
from tests.conftest import make_config
from tests.outbox.support import enqueue_message, message, queue, run_together
from tests.pages import LintingClient
from tests.settings.conftest import checks, text_of, versions, work
from tests.smtp import badserver
from tests.smtp.badserver import BadServer, Peer, authority, serve_correctly

from .dovecot import Dovecot, dovecot_missing
from .oidc import (
    CLIENT,
    INTROSPECTION,
    SECRET,
    MockServer,
    OidcProvider,
    oauth2_mock_server_missing,
    oidc_provider_missing,
    walk,
)
from .servers import LIMITS

MAILBOX, OTHER = "affiliates@brightleaf.example", "ada@elsewhere.example"
CONNECT = "/settings/connect/by-consent/microsoft"
FORM = {"mailbox": MAILBOX, "tenant": "", "client_id": CLIENT, "client_secret": SECRET}
HOST = "smtp.office365.com"
_DOVECOT = """
auth_mechanisms = xoauth2 oauthbearer
ssl_cert = <{certificate}
ssl_key = <{key}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
submission_relay_port = {relay}
submission_relay_ssl = no
submission_relay_user =
submission_relay_password =
"""
_INTROSPECTION = """
introspection_mode = post
introspection_url = http://dovecot:{secret}@127.0.0.1:{port}/token/introspection
force_introspection = yes
username_attribute = sub
active_attribute = active
active_value = true
openid_configuration_url = {issuer}/.well-known/openid-configuration
"""


@dataclass
class Provider:
    """The issuer, the mail server, and the server to which that one relays."""

    issuer: OidcProvider
    smtp: Dovecot
    relay: BadServer


def take_mail(peer: Peer) -> None:
    serve_correctly(peer, security=Security.PLAINTEXT)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Dovecot's processes, which have no root privileges, can read."""
    with tempfile.TemporaryDirectory(prefix="signet-interop-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def provider(real_or_skip, folder: Path) -> Iterator[Provider]:
    real_or_skip(oidc_provider_missing())
    real_or_skip(dovecot_missing())
    with ExitStack() as stack:
        issuer = stack.enter_context(OidcProvider("http://127.0.0.1"))
        relay = stack.enter_context(BadServer(take_mail))
        extra = dovecot_settings(folder, issuer, relay.port)
        yield Provider(issuer, stack.enter_context(Dovecot(extra=extra)), relay)


def dovecot_settings(folder: Path, issuer: OidcProvider, relay: int, host: str = HOST) -> str:
    """Return the settings with which Dovecot asks the issuer about each token. Writes files that they name."""
    certificate = authority().issue_cert(host)
    pem, key = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    introspection = _INTROSPECTION.format(secret=INTROSPECTION, port=issuer.ports[0], issuer=issuer.url)
    (folder / "oauth2.conf").write_text(introspection)
    return _DOVECOT.format(certificate=pem, key=key, folder=folder, relay=relay)


def configured(folder: Path, issuer: str, smtp_port: int) -> Config:
    """Return a configuration in which Microsoft's names lead to the servers of this test."""
    loopback = ip_network("127.0.0.1/32")
    policy = EgressPolicy(
        private_targets=(PrivateTarget(loopback, smtp_port),),
        ca_file=badserver.ca_file(),
        host_overrides=(HostOverride(HOST, 587, ip_address("127.0.0.1"), smtp_port),),
    )
    env = {
        "SIGNET_MICROSOFT_LOGIN_URL": issuer,
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{urlsplit(issuer).port}:plaintext",
    }
    return make_config(folder / "instance", env=env, lease=600.0, limits=LIMITS, policy=policy)


@pytest.fixture
def config(folder: Path, provider: Provider) -> Config:
    return configured(folder, provider.issuer.url, provider.smtp.ports[0])


def connect(owner: LintingClient, mailbox: str = MAILBOX) -> None:
    """Go to the issuer, log in and consent on its pages, and come back."""
    page = unescape(text_of(owner.submit(CONNECT, FORM)))
    callback = urlsplit(walk(page.partition('content="1; url=')[2].partition('"')[0], mailbox))
    response = owner.get(callback.path, query_string=callback.query)
    assert response.status_code == 303, problem(response)


def problem(response: TestResponse) -> str:
    """Return why nothing was connected, as the page says it."""
    return unescape(text_of(response)).partition('role="alert"')[2].partition("</div>")[0]


@pytest.fixture
def connected(app: Flask, owner: LintingClient, provider: Provider) -> Provider:
    connect(owner)
    work()
    (version,) = versions()
    assert version.state == "live", (checks()[-1].diagnosis, checks()[-1].transcript, provider.smtp.log())
    return provider


def expire() -> None:
    """Let the access token be over, as after an hour."""
    db.session.execute(update(OAuthGrant).values(sealed_access=None, access_expires_at=None))
    db.session.commit()


def test_mail_leaves_with_a_token_that_the_mail_server_asks_the_issuer_about(
    connected: Provider, owner: LintingClient
) -> None:
    assert len(connected.relay.messages) == 1, "the email of the check"
    (version,) = versions()
    id_ = enqueue_message(version.account_id, "one")
    drain_queue(version.account_id)
    assert message(id_).status is Status.SENT
    assert len(connected.relay.messages) == 2
    assert connected.issuer.counts() == {"code": 1, "refresh": 1, "refused": 0}


@pytest.mark.parametrize("mechanism", [Mechanism.XOAUTH2, Mechanism.OAUTHBEARER])
def test_both_mechanisms_log_in_and_another_user_is_refused(
    app: Flask, connected: Provider, config: Config, mechanism: Mechanism
) -> None:
    source = GrantTokens(_grant().id)
    server = Server(
        HOST,
        587,
        Security.STARTTLS,
        MAILBOX,
        mechanism=mechanism,
        policy=config.policy,
        limits=LIMITS,
        tokens=source,
    )
    with Session(server) as session:
        session.submit(MAILBOX, "noor@visitors.example", badserver.MESSAGE)
        transcript = str(session.transcript)
    with pytest.raises(SubmissionFailure) as refused, Session(replace(server, username=OTHER)) as session:
        session.submit(OTHER, "noor@visitors.example", badserver.MESSAGE)
    assert refused.value.reply is not None
    assert (refused.value.stage, refused.value.reply.code) == (Stage.AUTH, 535)
    token = source.fetch().secret.reveal()
    assert f"AUTH {mechanism.value.upper()}" in transcript
    assert token not in transcript
    assert base64.b64encode(token.encode()).decode()[:40] not in transcript


def _grant() -> OAuthGrant:
    db.session.rollback()
    return db.session.scalars(select(OAuthGrant).order_by(OAuthGrant.id.desc())).first()  # type: ignore[return-value]


def test_eight_workers_of_two_processes_refresh_an_expired_token_once(
    app: Flask, connected: Provider, config: Config
) -> None:
    """oidc-provider revokes the whole consent if an old refresh token is used a second time."""
    expire()
    before = connected.issuer.counts()
    id_ = _grant().id
    db.session.rollback()
    code = (
        "import sys, threading\nfrom portal import create_app\nfrom portal.oauth.tokens import GrantTokens\n"
        "app, found = create_app(), []\n"
        "def run():\n"
        "    with app.app_context():\n"
        f"        found.append(GrantTokens({id_}).fetch().secret.reveal())\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "threads = [threading.Thread(target=run) for _ in range(4)]\n"
        "[one.start() for one in threads]\n[one.join() for one in threads]\nprint(*found)"
    )
    env = {
        "SECRET_KEY": config.secret_key,
        "SIGNET_KEYS": config.keyring,
        "DATABASE_URL": config.database_url,
        "SIGNET_INSTANCE": str(config.instance),
        "SIGNET_MICROSOFT_LOGIN_URL": config.oauth.microsoft_login_url,
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{connected.issuer.ports[0]}:plaintext",
    }
    ran = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | env,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in ran:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    tokens = [token for one in ran for token in one.communicate("\n", timeout=300)[0].split()]
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert connected.issuer.counts() == before | {"refresh": before["refresh"] + 1}
    assert run_together(app, 2, lambda _: GrantTokens(id_).fetch().secret.reveal()) == tokens[:2]


def test_a_consent_that_was_withdrawn_holds_the_mail_until_connected_again(
    connected: Provider, owner: LintingClient
) -> None:
    account = versions()[0].account_id
    connected.issuer.withdraw()
    ids = [enqueue_message(account, name) for name in ("one", "two")]
    drain_queue(account)  # Dovecot refuses the kept token, and the issuer the refresh token
    assert {message(id_).status for id_ in ids} <= {Status.HELD, Status.QUEUED}
    assert queue(account).hold_diagnosis["kind"] == "consent"
    incidents = db.session.scalars(select(Incident)).all()
    assert [one.is_open for one in incidents] == [True]
    db.session.rollback()
    connect(owner)
    work()
    drain_queue(account)
    assert [message(id_).status for id_ in ids] == [Status.SENT] * 2


def test_another_persons_token_is_refused_by_the_page(provider: Provider, owner: LintingClient) -> None:
    page = unescape(text_of(owner.submit(CONNECT, FORM)))
    url = page.partition('content="1; url=')[2].partition('"')[0]
    callback = urlsplit(walk(url, OTHER))
    response = owner.get(callback.path, query_string=callback.query)
    assert response.status_code == 400
    assert f"You signed in as {OTHER}" in unescape(text_of(response))


@pytest.fixture
def mock(real_or_skip) -> Iterator[MockServer]:
    real_or_skip(oauth2_mock_server_missing())
    with MockServer() as server:
        yield server


class TestFaults:
    """Answers that oauth2-mock-server is scripted to give."""

    @pytest.fixture
    def config(self, folder: Path, mock: MockServer) -> Config:
        config = configured(folder, "http://127.0.0.1:1", 1)
        oauth = replace(
            config.oauth, google_token_url=f"{mock.url}/token", google_authorize_url=f"{mock.url}/authorize"
        )
        target = PrivateTarget(ip_network("127.0.0.1/32"), mock.ports[0], plaintext=True)
        return replace(
            config, oauth=oauth, webhook_policy=replace(config.webhook_policy, private_targets=(target,))
        )

    def go(self, owner: LintingClient) -> str:
        form = FORM | {"client_id": "1234-abc.apps.example"}
        page = unescape(text_of(owner.submit("/settings/connect/by-consent/google", form)))
        return walk(page.partition('content="1; url=')[2].partition('"')[0], MAILBOX)

    @pytest.mark.parametrize(
        ("status", "error", "sentence"),
        [
            (400, {"error": "invalid_grant", "error_description": "Bad Request"}, "no longer accepts"),
            (400, {"error": "redirect_uri_mismatch"}, "redirect address of this portal is not registered"),
            (401, {"error": "invalid_client"}, "does not accept the client"),
            (429, {"error": "rate_limit_exceeded"}, "currently limits requests"),
            (503, {}, "did not answer correctly"),
        ],
    )
    def test_each_refusal_of_a_code_gets_its_sentence(
        self, owner: LintingClient, mock: MockServer, status: int, error: dict[str, str], sentence: str
    ) -> None:
        mock.answer(status, error)
        callback = urlsplit(self.go(owner))
        response = owner.get(callback.path, query_string=callback.query)
        assert response.status_code == 400
        page = unescape(text_of(response))
        assert sentence in page
        assert f'value="{MAILBOX}"' in page

    def test_the_id_token_is_read(self, app: Flask, owner: LintingClient, mock: MockServer) -> None:
        callback = urlsplit(self.go(owner))
        response = owner.get(callback.path, query_string=callback.query)
        assert response.status_code == 303, problem(response)
        assert (_grant().subject, _grant().mailbox) == ("johndoe", MAILBOX)
