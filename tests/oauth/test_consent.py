"""Consent by authorization code: the way to the issuer and back, rotation of refresh tokens, and every wrong callback."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import select, update

from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.env import OAuthClient
from portal.jobs.registry import job_registry
from portal.oauth.models import OAuthAttempt, OAuthGrant
from portal.oauth.tokens import GrantTokens
from portal.operations.reseal import count_by_key
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.smtp.failure import SubmissionFailure
from portal.state import get_state
from tests.conftest import PASSWORD
from tests.oauth.conftest import CLIENT, MAILBOX, SECRET, Provider, grants, use_up_the_checks
from tests.oauth.issuer import Issuer
from tests.outbox.support import enqueue_message, message, queue, run_together
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, checks, text_of, versions, work

pytestmark = pytest.mark.both_databases
URL = "/settings/connect/by-consent/{}"
FORM = {"mailbox": MAILBOX, "tenant": "", "client_id": CLIENT, "client_secret": SECRET}
GOOGLE_FORM = FORM | {"client_id": "1234-abc.apps.example"}
SCOPE = "https://outlook.office.com/SMTP.Send openid email"


@dataclass
class Consent:
    """What the issuer answers to a code; ``claims`` change its id token. Refresh tokens rotate, with detection of reuse."""

    issuer: Issuer
    query: dict[str, str]
    mailbox: str = MAILBOX
    scope: str = SCOPE
    claims: dict[str, Any] = field(default_factory=dict)
    gives_refresh: bool = True
    keeps_previous: bool = False  # as Microsoft does: the refresh token before the last one stays valid
    current: str = ""
    previous: str = ""
    is_revoked: bool = False

    def __call__(self, form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        number = len(self.issuer.requests)
        if form.get("grant_type") == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            right = form["code"] == "the-code" and challenge == self.query["code_challenge"]
            if not right or form["redirect_uri"] != self.query["redirect_uri"]:
                return 400, {"error": "invalid_grant", "error_description": "AADSTS54005: code redeemed"}
        elif self.is_revoked or not self.knows(form.get("refresh_token", "")):
            self.is_revoked = True
            return 400, {"error": "invalid_grant", "error_description": "AADSTS700082: expired"}
        self.previous, self.current = self.current, f"canary-refresh-{number}"
        more = {"refresh_token": self.current} if self.gives_refresh else {}
        return 200, self.issuer.new_token(number) | more | {"scope": self.scope, "id_token": self.id_token()}

    def knows(self, token: str) -> bool:
        return token == self.current or (self.keeps_previous and token == self.previous)

    def id_token(self) -> str:
        claims = {
            "iss": f"http://127.0.0.1:{self.issuer.port}/v2.0",
            "aud": self.query["client_id"],
            "sub": "person-1",
            "email": self.mailbox,
            "nonce": self.query["nonce"],
            "exp": int(utcnow().timestamp()) + 600,
            **self.claims,
        }
        key = OctKey.import_key("a key of the issuer, which the portal does not know")
        return jwt.encode({"alg": "HS256"}, claims, key)


@pytest.fixture
def config(config: Config, provider: Provider) -> Config:
    url = f"http://127.0.0.1:{provider.issuer.port}/auth"
    return replace(config, oauth=replace(config.oauth, google_authorize_url=url))


def leave(owner: LintingClient, form: dict[str, str], way: str = "microsoft") -> tuple[str, dict[str, str]]:
    """Submit the form; return the address that the page leads to, and its query."""
    response = owner.submit(URL.format(way), form)
    assert response.status_code == 200, text_of(response)
    page = unescape(text_of(response))
    url = page.partition('content="1; url=')[2].partition('"')[0]
    assert f'href="{url}"' in page
    return url, {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def consent(
    owner: LintingClient, provider: Provider, form: dict[str, str] = FORM, way: str = "microsoft"
) -> Consent:
    """Go to the issuer; return what it will answer."""
    _, query = leave(owner, form, way)
    provider.issuer.script = found = Consent(provider.issuer, query)
    return found


def come_back(owner: LintingClient, found: Consent, **changes: str) -> Any:
    path = urlsplit(found.query["redirect_uri"]).path
    return owner.get(path, query_string={"state": found.query["state"], "code": "the-code"} | changes)


@pytest.fixture
def connected(app: Flask, owner: LintingClient, provider: Provider) -> Consent:
    """A live version that was connected by consent at Microsoft."""
    found = consent(owner, provider)
    assert come_back(owner, found).status_code == 303
    work()
    assert [version.state for version in versions()] == ["live"], checks()[-1].diagnosis
    return found


def test_the_request_has_pkce_state_and_nonce(owner: LintingClient, provider: Provider) -> None:
    url, query = leave(owner, FORM)
    assert url.startswith(f"http://127.0.0.1:{provider.issuer.port}/organizations/oauth2/v2.0/authorize?")
    assert query["redirect_uri"] == "http://127.0.0.1/oauth/callback/microsoft"
    assert query["code_challenge_method"] == "S256"
    assert query["scope"].split()[0] == "https://outlook.office.com/SMTP.Send"
    assert {"offline_access", "openid", "email", "profile"} <= set(query["scope"].split())
    assert query["login_hint"] == MAILBOX
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    (attempt,) = db.session.scalars(select(OAuthAttempt)).all()
    assert attempt.state_hash != query["state"]
    _, google = leave(owner, GOOGLE_FORM, "google")
    assert (google["access_type"], google["prompt"]) == ("offline", "consent")
    url, _ = leave(owner, FORM, "outlook-com")
    assert "/consumers/" in url


def test_a_consent_goes_live_and_its_rotated_token_is_stored(
    owner: LintingClient, connected: Consent, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    page = text_of(owner.get(PAGE))
    assert "Connected without a password" in page
    assert "canary" not in page
    _not_at_the_end_of_an_hour.shift(timedelta(hours=2))
    for number in range(3):
        id_ = enqueue_message(versions()[0].account_id, f"m{number}")
        drain_queue(versions()[0].account_id)
        assert message(id_).status is Status.SENT
        _not_at_the_end_of_an_hour.shift(timedelta(hours=2))
    assert not connected.is_revoked, "each refresh sends the token of the one before"
    assert len(provider.issuer.requests) == 5  # code, check, three messages


def test_eight_workers_refresh_once(
    app: Flask, connected: Consent, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    before = len(provider.issuer.requests)
    _not_at_the_end_of_an_hour.shift(timedelta(hours=2))
    source = GrantTokens(grants()[0].id)
    found = run_together(app, 8, lambda _: source.fetch().secret.reveal())
    assert len(set(map(str, found))) == 1
    assert len(provider.issuer.requests) == before + 1
    assert not connected.is_revoked


def test_a_dead_refresh_token_is_sent_once_and_connecting_again_releases_the_mail(
    owner: LintingClient, connected: Consent, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    account = versions()[0].account_id
    _not_at_the_end_of_an_hour.shift(timedelta(hours=2))
    connected.is_revoked = True
    id_ = enqueue_message(account, "one")
    drain_queue(account)
    assert message(id_).status is Status.HELD
    assert queue(account).hold_diagnosis["code"] == "consent-lapsed"
    before = len(provider.issuer.requests)
    _not_at_the_end_of_an_hour.shift(timedelta(hours=10))
    with pytest.raises(SubmissionFailure):
        GrantTokens(grants()[0].id).fetch()
    assert len(provider.issuer.requests) == before, "it is not sent again by itself"
    assert owner.submit("/account/is-it-you", {"password": PASSWORD}).status_code == 303
    again = consent(owner, provider)
    assert come_back(owner, again).status_code == 303
    work()
    drain_queue(account)
    assert message(id_).status is Status.SENT


def test_a_callback_that_comes_twice_shows_the_result_of_the_first(
    owner: LintingClient, connected: Consent, provider: Provider
) -> None:
    before = len(provider.issuer.requests)
    response = come_back(owner, connected)
    assert response.status_code == 303
    assert "already made" in text_of(owner.get(PAGE))
    assert (len(provider.issuer.requests), len(grants()), len(versions())) == (before, 1, 1)


def test_a_second_callback_after_a_refusal_names_no_connection(
    owner: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider)
    assert "did not give permission" in text_of(come_back(owner, found, error="access_denied"))
    response = come_back(owner, found, error="access_denied")
    assert response.status_code == 400
    assert "already been used" in text_of(response)
    assert "already made" not in text_of(response)


def test_a_callback_for_another_owner_session_or_provider_is_refused(
    app: Flask, owner: LintingClient, stranger: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider)
    assert "in another account" in text_of(come_back(stranger, found))
    response = owner.get(
        "/oauth/callback/google", query_string={"state": found.query["state"], "code": "the-code"}
    )
    assert response.status_code == 400
    assert "does not belong to a connection" in text_of(response)
    assert "does not belong to a connection" in text_of(come_back(owner, found, state="forged"))
    assert owner.get("/oauth/callback/microsoft").status_code == 400
    db.session.execute(update(OAuthAttempt).values(session_id=OAuthAttempt.session_id + 1))
    db.session.commit()
    assert "another browser" in text_of(come_back(owner, found))
    assert app.test_client().get("/oauth/callback/microsoft").status_code in {302, 303}
    assert not provider.issuer.requests
    assert not grants()


def test_a_late_callback_keeps_what_was_entered(
    owner: LintingClient, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    found = consent(owner, provider, FORM | {"secret_expires_on": "2027-03-01"})
    _not_at_the_end_of_an_hour.shift(timedelta(minutes=11))
    response = come_back(owner, found)
    assert response.status_code == 400
    assert "more than ten minutes" in text_of(response)
    assert 'value="2027-03-01"' in text_of(response)
    assert f'value="{MAILBOX}"' in text_of(response)
    assert SECRET not in text_of(response)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"error": "access_denied"}, "You did not give permission"),
        ({"error": "consent_required"}, "An administrator has to allow this app"),
        ({"error": "<b>server_error"}, "did not give permission"),
        ({"iss": "https://evil.example"}, "a different provider than"),
        ({"code": ""}, "a reply that Signet cannot use"),
        ({"code": "wrong"}, "no longer accepts the permission"),
    ],
)
def test_an_answer_without_a_consent_gets_a_sentence(
    owner: LintingClient, provider: Provider, answer: dict[str, str], sentence: str
) -> None:
    found = consent(owner, provider)
    response = come_back(owner, found, **answer)
    assert response.status_code == 400
    assert sentence in unescape(text_of(response))
    assert f'value="{MAILBOX}"' in text_of(response)
    assert not grants()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mailbox": "ada@elsewhere.example"}, "You signed in as ada@elsewhere.example, but entered"),
        ({"scope": "openid email"}, "You did not give permission to send."),
        ({"gives_refresh": False}, "for only one hour"),
        ({"claims": {"aud": "another"}}, "did not confirm who gave"),
        ({"claims": {"nonce": "another"}}, "did not confirm who gave"),
        ({"claims": {"iss": "https://evil.example"}}, "did not confirm who gave"),
        ({"claims": {"exp": 1}}, "The clocks of this portal and of Microsoft differ"),
        ({"claims": {"exp": float("nan")}}, "The clocks of this portal and of Microsoft differ"),
        ({"claims": {"aud": [CLIENT, "another"]}}, "did not confirm who gave"),
        ({"claims": {"azp": "another"}}, "did not confirm who gave"),
        ({"claims": {"sub": ""}}, "did not confirm who gave"),
    ],
)
def test_a_wrong_consent_gets_a_sentence_and_saves_nothing(
    owner: LintingClient, provider: Provider, changes: dict[str, Any], sentence: str
) -> None:
    found = consent(owner, provider)
    for name, value in changes.items():
        setattr(found, name, value)
    response = come_back(owner, found)
    assert response.status_code == 400
    assert sentence in unescape(text_of(response))
    assert not grants()
    assert not versions()


def test_the_user_name_counts_where_the_account_has_no_mail_attribute(
    owner: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider)
    found.claims = {"email": None, "preferred_username": MAILBOX, "aud": [CLIENT], "azp": CLIENT}
    assert come_back(owner, found).status_code == 303
    assert grants()[0].mailbox == MAILBOX


def test_a_refresh_asks_for_no_more_than_was_granted(
    connected: Consent, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    _not_at_the_end_of_an_hour.shift(timedelta(hours=2))
    GrantTokens(grants()[0].id).fetch()
    _path, form = provider.issuer.requests[-1]
    assert form["scope"] == "https://outlook.office.com/SMTP.Send offline_access"


def test_another_spelling_is_the_same_mailbox_and_a_shared_one_may_differ(
    owner: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider)
    found.mailbox = MAILBOX.title()
    assert come_back(owner, found).status_code == 303
    assert grants()[0].mailbox == MAILBOX.title()
    shared = consent(owner, provider, FORM | {"is_shared": "y"})
    shared.mailbox = "ada@brightleaf.example"
    assert come_back(owner, shared).status_code == 303
    assert grants()[1].mailbox == MAILBOX


@pytest.mark.parametrize(
    ("field_name", "value", "sentence"),
    [
        ("client_id", "", "Enter the Application (client) ID"),
        ("client_secret", "", "Enter the client secret."),
        ("client_secret", CLIENT, "This is the Secret ID."),
        ("tenant", "../evil", "Directory (tenant) ID"),
        ("mailbox", "nobody", "email address"),
    ],
)
def test_a_wrong_entry_is_shown_before_leaving(
    owner: LintingClient, field_name: str, value: str, sentence: str
) -> None:
    response = owner.submit(URL.format("microsoft"), FORM | {field_name: value})
    assert response.status_code == 422
    assert sentence in unescape(text_of(response))
    assert SECRET not in text_of(response)
    assert "http://127.0.0.1/oauth/callback/microsoft" in text_of(response)


def test_the_limit_of_checks_is_met_before_the_owner_consents(
    owner: LintingClient, provider: Provider
) -> None:
    use_up_the_checks(left=1)
    found = consent(owner, provider)
    response = owner.submit(URL.format("microsoft"), FORM)
    assert response.status_code == 429
    assert "checked these settings very often" in text_of(response)
    assert f'value="{MAILBOX}"' in text_of(response)
    assert len(db.session.scalars(select(OAuthAttempt)).all()) == 1
    assert come_back(owner, found).status_code == 303, "its check was counted when it was begun"
    work()
    assert [version.state for version in versions()] == ["live"]


def test_the_day_on_which_an_owners_secret_expires_is_kept(owner: LintingClient, provider: Provider) -> None:
    assert (
        come_back(owner, consent(owner, provider, FORM | {"secret_expires_on": "2027-03-01"})).status_code
        == 303
    )
    assert grants()[0].secret_expires_on.isoformat() == "2027-03-01"
    work()
    assert "1 Mar 2027" in text_of(owner.get(PAGE))
    response = owner.submit(URL.format("microsoft"), FORM | {"secret_expires_on": "2026-01-01"})
    assert response.status_code == 422
    assert "This date has passed" in text_of(response)
    assert 'value="2026-01-01"' in text_of(response)


def test_the_operators_client_needs_no_entry(app: Flask, owner: LintingClient, provider: Provider) -> None:
    state = get_state(app)
    oauth = replace(state.config.oauth, microsoft_client=OAuthClient(CLIENT, SECRET))
    state.config = replace(state.config, oauth=oauth)
    found = consent(owner, provider, {"mailbox": MAILBOX, "tenant": "", "client_id": "", "client_secret": ""})
    assert come_back(owner, found).status_code == 303
    work()
    assert versions()[0].state == "live"
    assert grants()[0].sealed_secret is None
    assert {form["client_secret"] for _, form in provider.issuer.requests} == {SECRET}


def test_disconnecting_revokes_at_google_unless_another_connection_needs_the_consent(
    owner: LintingClient, provider: Provider
) -> None:
    for _ in range(2):
        found = consent(owner, provider, GOOGLE_FORM, "google")
        found.scope = "https://mail.google.com/ openid email"
        assert come_back(owner, found).status_code == 303
    first, second = (grant.id for grant in grants())
    provider.issuer.script = lambda _form: (200, {})
    before = len(provider.issuer.requests)
    assert owner.submit(f"/settings/connect/{first}/disconnect", {}, page=PAGE).status_code == 303
    assert len(provider.issuer.requests) == before
    assert owner.submit(f"/settings/connect/{second}/disconnect", {}, page=PAGE).status_code == 303
    path, form = provider.issuer.requests[-1]
    assert path == "/revoke"
    assert form["token"].startswith("canary-refresh-")
    assert db.session.scalars(select(OAuthGrant.sealed_refresh)).all() == [None, None]


def test_disconnecting_deletes_the_secrets_of_earlier_connections_too(
    owner: LintingClient, provider: Provider
) -> None:
    for _ in range(2):
        found = consent(owner, provider, GOOGLE_FORM, "google")
        found.scope = "https://mail.google.com/ openid email"
        assert come_back(owner, found).status_code == 303
        work()
    assert sorted(version.state for version in versions()) == ["live", "retired"]
    provider.issuer.script = lambda _form: (200, {})
    second = max(grant.id for grant in grants())
    assert owner.submit(f"/settings/connect/{second}/disconnect", {}, page=PAGE).status_code == 303
    assert provider.issuer.requests[-1][0] == "/revoke"
    assert [(one.sealed_secret, one.sealed_refresh, one.sealed_access) for one in grants()] == [
        (None,) * 3
    ] * 2


def test_secrets_that_only_earlier_settings_refer_to_are_deleted_90_days_after_their_last_use(
    app: Flask, connected: Consent, owner: LintingClient, provider: Provider
) -> None:
    assert come_back(owner, consent(owner, provider)).status_code == 303
    work()
    assert [version.state for version in versions()] == ["retired", "live"]
    assert come_back(owner, consent(owner, provider)).status_code == 303  # a draft, not yet checked
    for days, ended in ((89, [False] * 3), (91, [True, False, False])):
        for cleanup in job_registry(app).cleanups:
            cleanup(utcnow() + timedelta(days=days))
        assert [one.ended_at is not None for one in grants()] == ended
    assert grants()[0].sealed_refresh is None
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert checks()[-1].diagnosis["code"] == "connection-ended"


def test_the_secrets_of_an_attempt_go_when_it_is_used_and_the_attempt_a_day_later(
    app: Flask, connected: Consent, owner: LintingClient
) -> None:
    assert db.session.scalars(select(OAuthAttempt.sealed)).all() == [b""]
    leave(owner, FORM)
    db.session.rollback()
    used = count_by_key()
    assert sum(one.rows["attempts to connect"] for one in used.values()) == 1
    assert not any(one.unreadable for one in used.values())
    db.session.rollback()
    for hours, left in ((1, 2), (25, 0)):
        for cleanup in job_registry(app).cleanups:
            cleanup(utcnow() + timedelta(hours=hours))
        assert len(db.session.scalars(select(OAuthAttempt)).all()) == left
        db.session.rollback()
