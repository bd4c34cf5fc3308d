"""*Rehearsal with consent*: the whole way to a connection without a password, offline, and each fault of its page."""

from __future__ import annotations

import base64
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.incidents.models import Incident
from portal.oauth.models import OAuthAttempt
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.rehearsal import server
from portal.rehearsal.consents import ConsentFault, Consents, TokenLogin, TokenUse, read_login
from portal.rehearsal.listeners import ListenerKind
from portal.state import get_state
from tests.conftest import make_config
from tests.outbox.support import enqueue_message, message, queue
from tests.pages import LintingClient, lint
from tests.rehearsal.conftest import ANY_PORTS, TIMEOUT_S
from tests.settings.conftest import PAGE, checks, rehearsal_config, text_of, versions, work

MAILBOX = "affiliates@brightleaf.example"
CONNECT = "/settings/connect/by-consent/rehearsal"
ALLOW = {"mailbox": MAILBOX, "may_send": "y", "fault": "works", "decision": "allow"}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(utcnow()) as traveller:
        yield traveller


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[server.RunningServer]:
    running = server.start(make_config(tmp_path / "instance"), ANY_PORTS)
    yield running
    running.stop()


@pytest.fixture
def config(tmp_path: Path, handle: server.RunningServer) -> Config:
    return rehearsal_config(tmp_path, handle)


def leave(owner: LintingClient) -> str:
    """Submit the form of the portal; return the address of the page of consent."""
    page = unescape(text_of(owner.submit(CONNECT, {"mailbox": MAILBOX})))
    return page.partition('content="1; url=')[2].partition('"')[0]


def exchange(
    url: str, method: str = "GET", form: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of a request to the authorization server, as a browser sends it."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request(method, f"{parts.path}?{parts.query}", urlencode(form or {}), headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.headers), body


def consent(owner: LintingClient, **choices: str) -> TestResponse:
    """Go to the page of consent, decide, and come back; return the portal's answer."""
    url = leave(owner)
    form = {name: value for name, value in (ALLOW | choices).items() if value}
    status, headers, _ = exchange(url, "POST", form)
    assert status == 303
    back = urlsplit(headers["Location"])
    return owner.get(back.path, query_string=back.query)


def lint_form(page: str, policy: str) -> None:
    """Check a page with a form. It needs no CSRF token: this application has no session, so there is nothing to forge."""
    lint(page.replace('method="post"', 'method="get"'), policy)


def test_the_whole_way_is_walked_offline(owner: LintingClient, config: Config) -> None:
    status, headers, page = exchange(leave(owner))
    assert status == 200
    lint_form(page, headers["Content-Security-Policy"])
    assert f'value="{MAILBOX}"' in page
    assert consent(owner).status_code == 303
    work()
    (version,) = versions()
    assert version.state == "live", checks()[-1].diagnosis
    assert (version.provider, version.host, version.sender) == ("rehearsal-consent", "127.0.0.1", MAILBOX)
    assert [stage["stage"] for stage in checks()[-1].stages][:2] == ["consent", "resolve"]
    assert "AUTH XOAUTH2" in checks()[-1].transcript
    id_ = enqueue_message(version.account_id, "one")
    drain_queue(version.account_id)
    assert message(id_).status is Status.SENT
    page = text_of(owner.get(PAGE))
    assert "Connected without a password" in page
    assert len(list((config.instance / "rehearsal" / "inbox").glob("*.eml"))) == 2


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"mailbox": "ada@elsewhere.example"}, "You signed in as ada@elsewhere.example"),
        ({"may_send": ""}, "You did not give permission to send."),
        ({"decision": "deny"}, "You did not give permission at Rehearsal"),
        ({"fault": "secret-expired"}, "The client secret has expired at Rehearsal."),
    ],
)
def test_a_consent_that_fails_saves_nothing(
    owner: LintingClient, choices: dict[str, str], sentence: str
) -> None:
    response = consent(owner, **choices)
    assert response.status_code == 400
    assert sentence in unescape(text_of(response))
    assert f'value="{MAILBOX}"' in text_of(response)
    assert not versions()


def test_a_fresh_permission_is_refused_by_the_mail_server(owner: LintingClient) -> None:
    consent(owner, fault="token-refused")
    work()
    assert versions()[0].state == "draft"
    (one,) = checks()
    assert [stage["verdict"] for stage in one.stages if stage["stage"] == "consent"] == ["passed"]
    assert one.diagnosis["code"] == "token-login-refused"
    assert "535 5.7.3" in one.transcript


def test_a_throttled_consent_goes_live_a_minute_later(
    owner: LintingClient, clock: time_machine.Traveller
) -> None:
    consent(owner, fault="throttled")
    work()
    assert checks()[-1].diagnosis["code"] == "token-throttled"
    clock.shift(timedelta(seconds=61))
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert versions()[0].state == "live", checks()[-1].diagnosis


def test_a_lapsed_consent_holds_the_mail_until_connected_again(
    owner: LintingClient, clock: time_machine.Traveller
) -> None:
    consent(owner, fault="consent-lapsed")
    work()
    (version,) = versions()
    assert version.state == "live", checks()[-1].diagnosis
    clock.shift(timedelta(seconds=40))
    id_ = enqueue_message(version.account_id, "one")
    drain_queue(version.account_id)
    assert message(id_).status is Status.HELD
    assert queue(version.account_id).hold_diagnosis["code"] == "consent-lapsed"
    (incident,) = db.session.scalars(select(Incident)).all()
    assert incident.is_open
    consent(owner)
    work()
    drain_queue(version.account_id)
    assert message(id_).status is Status.SENT


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/oauth/callback/rehearsal"},
        {"client_id": "another"},
        {"state": ""},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
    ],
)
def test_a_request_that_was_changed_leads_nowhere(owner: LintingClient, changes: dict[str, str]) -> None:
    parts = urlsplit(leave(owner))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    url = f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"
    for method in ("GET", "POST"):
        status, headers, page = exchange(url, method, ALLOW)
        assert status == 400
        assert "Location" not in headers
        lint(page, headers["Content-Security-Policy"])


def test_an_address_that_is_none_is_refused_beside_its_field(owner: LintingClient) -> None:
    status, headers, page = exchange(leave(owner), "POST", ALLOW | {"mailbox": 'no "body"'})
    assert status == 422
    assert "Enter a whole email address." in page
    assert 'value="no &#34;body&#34;"' in page
    lint_form(page, headers["Content-Security-Policy"])


def test_a_code_counts_once_with_its_verifier_and_secret(
    app: Flask, owner: LintingClient, config: Config
) -> None:
    url = leave(owner)
    _, headers, _ = exchange(url, "POST", ALLOW)
    code = parse_qs(urlsplit(headers["Location"]).query)["code"][0]
    token = f"http://127.0.0.1:{config.rehearsal_consent_port}/token"
    form = {"grant_type": "authorization_code", "client_id": "rehearsal", "code": code, "client_secret": "x"}
    assert exchange(token, "POST", form)[0] == 401
    secret = {"client_secret": Consents(config)._client.secret}
    assert exchange(token, "POST", form | secret | {"code_verifier": "another"})[0] == 400
    assert exchange(token, "POST", form | secret | {"grant_type": "password"})[0] == 400
    back = urlsplit(headers["Location"])
    assert owner.get(back.path, query_string=back.query).status_code == 303
    db.session.execute(OAuthAttempt.__table__.update().values(used_at=None))
    db.session.commit()
    assert owner.get(back.path, query_string=back.query).status_code == 400


def test_both_mechanisms_are_understood(handle: server.RunningServer, config: Config) -> None:
    asked = {"scope": "smtp.send", "nonce": "n", "code_challenge": "c", "redirect_uri": "r"}
    consents = Consents(config)
    code = consents.code(asked, MAILBOX, ConsentFault.NONE, utcnow())
    found = consents._read(TokenUse.CODE, code, utcnow())
    _, answer = consents._tokens({**(found or {}), "given": 0, "uses": 0}, utcnow())
    token = answer["access_token"]
    replies = {
        "XOAUTH2": f"user={MAILBOX}\x01auth=Bearer {token}\x01\x01",
        "OAUTHBEARER": f"n,a={MAILBOX},\x01host=localhost\x01port=25\x01auth=Bearer {token}\x01\x01",
    }
    for mechanism, response in replies.items():
        assert read_login(response.encode()) == TokenLogin(MAILBOX, token)
        for text, code_ in ((response, 235), (response.replace("affiliates@", "other@"), 535), ("x", 535)):
            assert log_in(handle, mechanism, text) == code_


def log_in(handle: server.RunningServer, mechanism: str, response: str) -> int:
    """Return the code of the last reply to a log-in with smtplib, an independent client."""
    with smtplib.SMTP("127.0.0.1", handle.ports[ListenerKind.STARTTLS], timeout=TIMEOUT_S) as smtp:
        smtp.starttls(context=ssl.create_default_context(cafile=str(handle.files.ca)))
        smtp.ehlo()
        assert mechanism in smtp.esmtp_features["auth"]
        assert smtp.docmd("AUTH", mechanism)[0] == 334
        code, _ = smtp.docmd(base64.b64encode(response.encode()).decode())
        return smtp.docmd("AQ==")[0] if code == 334 else code


def test_without_the_rehearsal_there_is_no_such_way(app: Flask, owner: LintingClient) -> None:
    assert "by-consent/rehearsal" in text_of(owner.get("/settings/connect"))
    assert "Connect Rehearsal without a password" in text_of(
        owner.get(f"{PAGE}/help?provider=rehearsal-consent")
    )
    state = get_state(app)
    state.config = replace(state.config, rehearsal=False)
    assert "by-consent/rehearsal" not in text_of(owner.get("/settings/connect"))
    assert owner.get(CONNECT).status_code == 404
    assert (
        owner.submit(CONNECT, {"mailbox": MAILBOX}, page="/settings/connect/microsoft-365").status_code == 404
    )
    assert owner.get("/oauth/callback/rehearsal", query_string={"state": "x"}).status_code == 400
