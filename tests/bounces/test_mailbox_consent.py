"""The mailbox for bounces without a password: connected by consent or by an app, and read with its own tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from html import unescape
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import select

from portal.bounces.mailbox import reading, saving
from portal.bounces.meaning import Meaning
from portal.clock import utcnow
from portal.db import db
from portal.oauth.models import OAuthAttempt, OAuthGrant, Purpose
from portal.oauth.sealing import open_sealed
from portal.operations.reseal import count_by_key
from portal.settings import versions
from portal.smtp.network.guard import HostOverride
from portal.vault import DecryptionError
from tests.bounces.imap_server import ImapScript
from tests.bounces.mails import notification, status_fields
from tests.bounces.support import GRACE, outcome, send
from tests.bounces.test_mailbox import PAGE, about, fields, mailbox_of, read, text_of
from tests.conftest import make_config
from tests.oauth.conftest import CLIENT, MAILBOX, SECRET, TENANT, grants, service_account_key
from tests.oauth.issuer import Issuer
from tests.oauth.test_consent import Consent
from tests.smtp import badserver
from tests.smtp.badserver import BadServer

pytestmark = pytest.mark.both_databases
READ_SCOPE = "https://outlook.office.com/IMAP.AccessAsUser.All"
FORM = {"mailbox": MAILBOX, "tenant": "", "client_id": CLIENT, "client_secret": SECRET}
APP = {"mailbox": MAILBOX, "tenant": TENANT, "client_id": CLIENT, "client_secret": SECRET, "object_id": ""}


@dataclass
class Provider:
    """The issuer and the IMAP server of one provider, and another IMAP server that takes passwords."""

    issuer: Issuer
    script: ImapScript
    own: BadServer


@pytest.fixture
def script() -> ImapScript:
    return ImapScript(capabilities=b"IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2", certificate="providers")


@pytest.fixture
def servers(script: ImapScript) -> Iterator[tuple[Issuer, BadServer, BadServer]]:
    with ExitStack() as stack:
        issuer = stack.enter_context(Issuer())
        script.tokens = issuer.valid
        yield issuer, stack.enter_context(BadServer(script)), stack.enter_context(BadServer(ImapScript()))


@pytest.fixture
def provider(servers, script: ImapScript) -> Provider:
    return Provider(servers[0], script, servers[2])


@pytest.fixture
def config(tmp_path, servers):
    """Both providers' names lead to the IMAP server on loopback, their token endpoints to the issuer."""
    issuer, imap, own = servers
    url = f"http://127.0.0.1:{issuer.port}"
    env = {
        "SIGNET_MICROSOFT_LOGIN_URL": url,
        "SIGNET_GOOGLE_TOKEN_URL": f"{url}/token",
        "SIGNET_GOOGLE_AUTHORIZE_URL": f"{url}/auth",
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{issuer.port}:plaintext",
        "SIGNET_SMTP_PRIVATE": " ".join(
            f"127.0.0.0/8:{port} ::1/128:{port}" for port in (imap.port, own.port)
        ),
        "SIGNET_SMTP_CA_FILE": badserver.ca_file(),
    }
    config = make_config(tmp_path / "instance", env=env)
    names = ("outlook.office365.com", "imap.gmail.com")
    overrides = tuple(HostOverride(name, 993, ip_address("127.0.0.1"), imap.port) for name in names)
    return replace(config, policy=replace(config.policy, host_overrides=overrides))


def leave(owner, form: dict[str, str], way: str = "microsoft") -> dict[str, str]:
    """Submit the form; return the query of the address that the page leads to."""
    answer = owner.submit(f"{PAGE}/connect/{way}", form)
    page = unescape(answer.get_data(as_text=True))
    assert answer.status_code == 200, page
    assert "allow Signet to read the mailbox" in page
    url = page.partition('content="1; url=')[2].partition('"')[0]
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def come_back(owner, query: dict[str, str], **changes: str):
    answer = {"state": query["state"], "code": "the-code"} | changes
    return owner.get(urlsplit(query["redirect_uri"]).path, query_string=answer)


def connect(owner, provider: Provider, form: dict[str, str] = FORM, way: str = "microsoft", **answer: str):
    """Give the consent and come back; return what the issuer answered with."""
    query = leave(owner, form, way)
    provider.issuer.script = found = Consent(
        provider.issuer, query, scope=answer.get("scope", query["scope"])
    )
    assert come_back(owner, query).status_code == 303
    return found


def test_a_mailbox_of_microsoft_is_read_by_a_consent_of_its_own(brightleaf, owner, provider):
    query = leave(owner, FORM)
    assert query["scope"].split() == [READ_SCOPE, "offline_access", "openid", "email", "profile"]
    assert query["redirect_uri"].endswith("/oauth/callback/microsoft"), (
        "the one that is registered for sending"
    )
    connect(owner, provider)
    sent = send(brightleaf)
    provider.script.mails = {4: about(sent, notification(status_fields(GRACE)))}
    row = read(brightleaf)
    assert (row.problem, row.reports, row.host, row.port) == ("", 1, "outlook.office365.com", 993)
    assert outcome(sent.id).meaning is Meaning.HARD
    assert provider.script.token_log_ins == [(MAILBOX, True)]
    refreshes = [form for _path, form in provider.issuer.requests if form["grant_type"] == "refresh_token"]
    assert [form["scope"] for form in refreshes] == [f"{READ_SCOPE} offline_access"]
    page = text_of(owner)
    assert "Permission of Microsoft" in page
    assert "canary" not in page
    assert all(usage.unreadable == 0 for usage in count_by_key().values())


def test_a_mailbox_of_google_is_read_by_consent(brightleaf, owner, provider):
    form = FORM | {"client_id": "1234-abc.apps.example"}
    connect(owner, provider, form, "google")
    assert read(brightleaf).problem == ""
    assert mailbox_of(brightleaf).host == "imap.gmail.com"


def test_a_mailbox_of_microsoft_is_read_by_an_app(brightleaf, owner, provider):
    page = f"{PAGE}/connect/app"
    lines = unescape(
        owner.submit(page, APP | {"show_lines": "1", "object_id": TENANT}).get_data(as_text=True)
    )
    assert f"Add-MailboxPermission -Identity '{MAILBOX}' -User {TENANT} -AccessRights FullAccess" in lines
    assert SECRET not in lines
    assert owner.submit(page, APP).status_code == 303
    assert read(brightleaf).problem == ""
    (grant,) = grants()
    assert (grant.purpose, grant.flow) == ("read", "app-only")


def test_a_mailbox_of_google_is_read_by_a_service_account(brightleaf, owner, provider):
    page, key = f"{PAGE}/connect/service-account", service_account_key()
    for refused, sentence in (
        ({"mailbox": "", "key": key}, "Enter the mailbox that receives bounces."),
        ({"mailbox": MAILBOX, "key": ""}, "Paste the JSON key, or choose its file."),
        ({"mailbox": MAILBOX, "key": "{}"}, "This is not a key of a service account"),
    ):
        answer = owner.submit(page, refused)
        assert answer.status_code == 422
        assert sentence in unescape(answer.get_data(as_text=True))
        assert "PRIVATE KEY" not in answer.get_data(as_text=True)
    assert grants() == []
    assert owner.submit(page, {"mailbox": MAILBOX, "key": key}).status_code == 303
    sent = send(brightleaf)
    provider.script.mails = {4: about(sent, notification(status_fields(GRACE)))}
    row = read(brightleaf)
    assert (row.problem, row.reports, row.host) == ("", 1, "imap.gmail.com")
    assert outcome(sent.id).meaning is Meaning.HARD
    assert provider.script.token_log_ins == [(MAILBOX, True)]
    ((path, form),) = provider.issuer.requests
    claims = jwt.decode(form["assertion"], RSAKey.import_key(json.loads(key)["private_key"])).claims
    assert (path, claims["sub"], claims["scope"]) == ("/token", MAILBOX, "https://mail.google.com/")
    (grant,) = grants()
    assert (grant.purpose, grant.flow) == ("read", "service-account")
    shown = text_of(owner)
    assert "Permission of Google" in shown
    assert 'href="/settings/bounces/mailbox/connect/service-account"' in shown
    assert f'value="{MAILBOX}"' in owner.get(page).get_data(as_text=True)
    owner.submit(f"{PAGE}/remove", {}, page=PAGE)
    (grant,) = grants()
    assert (grant.ended_at is not None, grant.sealed_secret) == (True, None)


def test_what_is_wrong_is_stated_beside_its_field(brightleaf, owner, provider):
    for path, form in ((f"{PAGE}/connect/microsoft", FORM), (f"{PAGE}/connect/app", APP)):
        answer = owner.submit(path, form | {"mailbox": "", "client_id": "nonsense", "tenant": "?"})
        assert answer.status_code == 422
        assert "Enter the mailbox that receives bounces." in answer.get_data(as_text=True)
        answer = owner.submit(path, form | {"client_id": "nonsense"})
        assert answer.status_code == 422
        assert "Application (client) ID" in answer.get_data(as_text=True)
    assert owner.get(f"{PAGE}/connect/nowhere").status_code == 404
    assert grants() == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"error": "access_denied"}, "You did not give permission at Microsoft"),
        (
            {"scope": "https://outlook.office.com/SMTP.Send"},
            "You did not give permission to read the mailbox",
        ),
        ({"code": "another"}, "The provider does not accept|no longer accepts|already"),
    ],
)
def test_a_consent_that_was_not_given_saves_nothing(brightleaf, owner, provider, answer, sentence):
    query = leave(owner, FORM)
    provider.issuer.script = Consent(provider.issuer, query, scope=answer.get("scope", query["scope"]))
    response = come_back(owner, query, **{name: answer[name] for name in answer if name != "scope"})
    page = unescape(response.get_data(as_text=True))
    assert response.status_code == 400
    assert any(one in page for one in sentence.split("|")), page
    assert f'value="{MAILBOX}"' in page
    assert has_no_mailbox(brightleaf)
    assert grants() == []


def has_no_mailbox(account_id: int) -> bool:
    db.session.rollback()
    return saving.find(account_id) is None


def test_a_callback_of_another_account_connects_nothing(brightleaf, owner, stranger, provider):
    query = leave(owner, FORM)
    provider.issuer.script = Consent(provider.issuer, query)
    answer = come_back(stranger, query)
    assert answer.status_code == 303
    assert grants() == []
    assert "another account" in stranger.get(PAGE).get_data(as_text=True)


def test_a_kept_token_that_is_refused_is_replaced_once(brightleaf, owner, provider):
    connect(owner, provider)
    assert read(brightleaf).problem == ""
    provider.issuer.valid.clear()
    read_with_kept_token(brightleaf)
    assert mailbox_of(brightleaf).problem == ""
    assert [known for _user, known in provider.script.token_log_ins] == [True, False, True]


def read_with_kept_token(account_id: int) -> None:
    """Read the mailbox when it is due, as the worker does by itself: with the kept token."""
    row = mailbox_of(account_id)
    row.next_read_at = utcnow()
    db.session.commit()
    reading.read(row.id)


def test_each_refusal_is_stated_with_what_to_do(brightleaf, owner, provider):
    found = connect(owner, provider)
    provider.script.tokens = set()
    assert read(brightleaf).problem == "token-refused"
    assert [known for _user, known in provider.script.token_log_ins] == [False], "a new token is not replaced"
    assert "IMAP may be off for this mailbox" in text_of(owner)
    found.is_revoked = True
    assert read(brightleaf).problem == "consent-lapsed"
    assert "Connect the mailbox again" in text_of(owner)
    provider.issuer.script = lambda _form: (401, {"error": "invalid_client"})
    assert read(brightleaf).problem == "client-refused"
    provider.issuer.script = lambda _form: (503, "")
    assert read(brightleaf).problem == "token-unavailable"
    assert len(provider.script.token_log_ins) == 1, "without a token the server is not asked"
    provider.script.tokens = provider.issuer.valid
    connect(owner, provider)
    assert read(brightleaf).problem == ""


def test_another_folder_is_read_and_connecting_again_keeps_it(brightleaf, owner, provider):
    connect(owner, provider)
    provider.script.folder = b'"Bounces"'
    assert read(brightleaf).problem == "no-folder"
    assert owner.submit(f"{PAGE}/folder", {"read_folder": ""}, page=PAGE).status_code == 422
    assert owner.submit(f"{PAGE}/folder", {"read_folder": "Bounces"}, page=PAGE).status_code == 303
    assert read(brightleaf).problem == ""
    connect(owner, provider)
    assert (mailbox_of(brightleaf).folder, read(brightleaf).problem) == ("Bounces", "")
    assert [grant.ended_at is None for grant in grants()] == [False, True]


def test_a_password_replaces_the_permission_and_removing_deletes_it(brightleaf, owner, provider):
    connect(owner, provider)
    no_password = {"host": "outlook.office365.com", "port": "993", "username": MAILBOX, "password": ""}
    assert owner.submit(PAGE, fields(provider.own, **no_password)).status_code == 422
    assert owner.submit(PAGE, fields(provider.own)).status_code == 303
    assert read(brightleaf).problem == ""
    connect(owner, provider)
    owner.submit(f"{PAGE}/remove", {}, page=PAGE)
    assert [grant.ended_at is not None for grant in grants()] == [True, True]
    assert all(not (grant.sealed_secret or grant.sealed_refresh or grant.sealed_access) for grant in grants())


def test_grants_for_sending_and_reading_do_not_touch_each_other(app, brightleaf, owner, stranger, provider):
    connect(owner, provider)
    (grant,) = grants()
    assert owner.submit(f"/settings/connect/{grant.id}/disconnect", {}, page=PAGE).status_code == 404
    versions.discard_drafts(brightleaf, now=utcnow())  # ends the grants that no version needs
    assert read(brightleaf).problem == ""
    row = db.session.scalars(select(OAuthGrant)).one()
    row.purpose = Purpose.SEND  # the secrets are sealed for reading
    db.session.commit()
    with pytest.raises(DecryptionError):
        open_sealed(row, row.sealed_refresh)
    db.session.rollback()
    assert "Permission of Microsoft" not in stranger.get(PAGE).get_data(as_text=True)
    assert stranger.submit(f"{PAGE}/folder", {"read_folder": "INBOX"}, page=PAGE).status_code == 404


def test_the_attempts_are_limited(brightleaf, owner, provider):
    form = FORM | {"client_secret": SECRET}
    answers = [owner.submit(f"{PAGE}/connect/microsoft", form).status_code for _ in range(21)]
    assert answers == [200] * 20 + [429]
    assert len(db.session.scalars(select(OAuthAttempt)).all()) == 20
