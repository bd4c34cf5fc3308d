"""Connecting a mailbox without a password: pages, check, incident, held mail, connecting again, disconnecting."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import select

from portal.clock import utcnow
from portal.db import db
from portal.incidents import expiry
from portal.incidents.models import Incident
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from portal.settings import login_probe
from portal.settings import versions as operations
from portal.settings.models import SmtpSettings
from tests.cases import in_one_test
from tests.conftest import PASSWORD
from tests.oauth.conftest import (
    FORM,
    GOOGLE,
    MAILBOX,
    MICROSOFT,
    SECRET,
    Provider,
    grants,
    service_account_key,
    use_up_the_checks,
)
from tests.oauth.issuer import serve_tokens
from tests.outbox.support import enqueue_message, message, queue
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, checks, text_of, versions, work
from tests.smtp.badserver import Peer

pytestmark = pytest.mark.both_databases


@pytest.fixture
def live(app: Flask, owner: LintingClient, provider: Provider) -> SmtpSettings:
    """Version 1, connected and activated by a passed check."""
    assert owner.submit(MICROSOFT, FORM).status_code == 303
    work()
    (version,) = versions()
    assert version.state == "live", checks()[-1].diagnosis
    return version


def incidents() -> list[Incident]:
    db.session.rollback()
    return list(db.session.scalars(select(Incident).order_by(Incident.id)))


def test_a_connection_goes_live_by_a_check_that_begins_with_the_consent(
    owner: LintingClient, live: SmtpSettings, provider: Provider
) -> None:
    (one,) = checks()
    assert [stage["stage"] for stage in one.stages][:2] == ["consent", "resolve"]
    assert {stage["verdict"] for stage in one.stages} == {"passed"}
    assert (live.host, live.port, live.username, live.sender) == ("smtp.office365.com", 587, MAILBOX, MAILBOX)
    assert b"From: Brightleaf <affiliates@brightleaf.example>" in provider.smtp.messages[0]
    page = text_of(owner.get(PAGE))
    assert "Connected without a password" in page
    assert "Consent" in page
    assert "Ada Fairweather" in page
    assert "canary" not in page + text_of(owner.get(MICROSOFT)) + one.transcript
    (grant,) = grants()
    assert grant.tenant == FORM["tenant"]
    assert grant.secret_expires_on.isoformat() == "2027-03-01"


def test_a_workspace_is_connected_by_the_pasted_or_uploaded_key(
    owner: LintingClient, provider: Provider
) -> None:
    key = service_account_key()
    assert owner.submit(GOOGLE, {"mailbox": MAILBOX, "key": key}).status_code == 303
    work()
    file = (io.BytesIO(key.encode()), "key.json")
    response = owner.submit(
        GOOGLE, {"mailbox": MAILBOX, "key": "", "key_file": file}, content_type="multipart/form-data"
    )
    assert response.status_code == 303
    work()
    assert [version.state for version in versions()] == ["retired", "live"]
    assert len(grants()) == 2
    assert "PRIVATE KEY" not in text_of(owner.get(PAGE)) + text_of(owner.get(GOOGLE))


@in_one_test(
    ("field", "value", "sentence"),
    [
        ("tenant", "", "Enter the Directory (tenant) ID."),
        ("tenant", "common", "Directory (tenant) ID"),
        ("tenant", "../../evil", "Directory (tenant) ID"),
        ("tenant", "127.0.0.1", "Directory (tenant) ID"),
        ("client_id", "my app", "Application (client) ID"),
        ("client_secret", "", "Enter the Value of the client secret."),
        ("client_secret", "7f8a1b2c-0000-4000-8000-0123456789ab", "This is the Secret ID."),
        ("client_secret", "two words", "contains a space or a line break"),
        ("secret_expires_on", "2026-01-01", "This date has passed"),
        ("secret_expires_on", "soon", "Not a valid date"),
        ("mailbox", "nobody", "email address"),
    ],
)
def test_a_wrong_entry_gets_its_sentence_and_the_others_stay(
    owner: LintingClient, field: str, value: str, sentence: str
) -> None:
    response = owner.submit(MICROSOFT, FORM | {field: value})
    page = unescape(text_of(response))
    assert response.status_code == 422
    assert sentence in page
    for name in ("tenant", "client_id", "mailbox"):
        assert name == field or f'value="{FORM[name]}"' in page
    assert SECRET not in page
    assert not grants()
    assert not versions()


def test_a_key_that_is_none_is_refused_and_not_shown_again(owner: LintingClient) -> None:
    broken = json.dumps(json.loads(service_account_key()) | {"client_id": "x"})
    for key, sentence in (
        ("", "Paste the JSON key"),
        ("hello", "not a key file"),
        (broken, "must be a number"),
    ):
        response = owner.submit(GOOGLE, {"mailbox": MAILBOX, "key": key})
        assert response.status_code == 422
        assert sentence in unescape(text_of(response))
        assert "PRIVATE KEY" not in text_of(response)
        assert f'value="{MAILBOX}"' in text_of(response)
    assert not grants()


def test_the_lines_are_shown_with_the_owners_values(owner: LintingClient) -> None:
    entered = FORM | {"client_secret": "", "show_lines": "1", "object_id": FORM["tenant"]}
    page = unescape(text_of(owner.submit(MICROSOFT, entered)))
    assert f"New-ServicePrincipal -AppId {FORM['client_id']} -ObjectId {FORM['tenant']}" in page
    assert f"-Resource '{MAILBOX}'" in page
    assert "Enter the Value" not in page


def test_a_refused_consent_stops_the_check_before_the_server(
    owner: LintingClient, provider: Provider
) -> None:
    provider.issuer.script = lambda _form: (
        401,
        {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."},
    )
    owner.submit(MICROSOFT, FORM)
    work()
    (one,) = checks()
    assert [(stage["stage"], stage["verdict"]) for stage in one.stages] == [("consent", "failed")]
    assert one.diagnosis["code"] == "client-secret-wrong"
    assert provider.smtp.connections == 0
    page = unescape(text_of(owner.get(PAGE)))
    assert "Value of the client secret, not its Secret ID" in page
    assert "AADSTS7000215" in page
    assert SECRET not in page


def test_a_mailbox_without_the_right_is_distinguished_from_the_consent(
    owner: LintingClient, provider: Provider
) -> None:
    refusal = b"535 5.7.3 Authentication unsuccessful [AM0PR01CA0101.example]\r\n"
    provider.smtp.script = lambda peer: serve_tokens(provider.issuer, peer, refusal)
    owner.submit(MICROSOFT, FORM)
    work()
    (one,) = checks()
    assert [stage["verdict"] for stage in one.stages if stage["stage"] == "consent"] == ["passed"]
    assert one.stages[-1]["stage"] == "auth"
    assert one.diagnosis["code"] == "microsoft365-token-mailbox"
    assert len(provider.issuer.requests) == 1, "a fresh token is not fetched twice"


def test_check_again_fetches_another_token(
    owner: LintingClient, live: SmtpSettings, provider: Provider
) -> None:
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert len(provider.issuer.requests) == 2


def test_a_withdrawn_consent_holds_the_mail_until_connected_again(
    owner: LintingClient, live: SmtpSettings, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    _not_at_the_end_of_an_hour.shift(timedelta(hours=1))
    provider.issuer.script = lambda _form: (
        400,
        {"error": "unauthorized_client", "error_description": "AADSTS700016: Application not found"},
    )
    ids = [enqueue_message(live.account_id, name) for name in ("one", "two")]
    drain_queue(live.account_id)
    assert {message(id_).status for id_ in ids} <= {Status.HELD, Status.QUEUED}
    assert queue(live.account_id).held_at is not None
    (incident,) = incidents()
    assert (incident.cause, incident.is_open, incident.blocks_queue) == ("client-unknown", True, True)
    assert "connect again" in incident.diagnosis["fixes"][0]
    drain_queue(live.account_id)
    assert len(incidents()) == 1
    provider.issuer.script = lambda _form: None
    assert owner.submit("/account/is-it-you", {"password": PASSWORD}).status_code == 303
    assert owner.submit(MICROSOFT, FORM).status_code == 303
    work()
    drain_queue(live.account_id)
    assert [message(id_).status for id_ in ids] == [Status.SENT, Status.SENT]
    assert [version.state for version in versions()] == ["retired", "live"]


def test_an_issuer_that_is_down_only_delays_the_mail(
    live: SmtpSettings, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    _not_at_the_end_of_an_hour.shift(timedelta(hours=1))
    provider.issuer.script = lambda _form: (503, "")
    id_ = enqueue_message(live.account_id, "one")
    drain_queue(live.account_id)
    assert message(id_).status is Status.QUEUED
    assert queue(live.account_id).held_at is None
    provider.issuer.script = lambda _form: None
    _not_at_the_end_of_an_hour.shift(timedelta(hours=1))
    drain_queue(live.account_id)
    assert message(id_).status is Status.SENT


def test_a_token_that_the_server_refuses_is_replaced_once(live: SmtpSettings, provider: Provider) -> None:
    provider.issuer.revoke_all()
    id_ = enqueue_message(live.account_id, "one")
    drain_queue(live.account_id)
    assert message(id_).status is Status.SENT
    assert len(provider.issuer.requests) == 2


def test_one_connection_carries_several_messages(live: SmtpSettings, provider: Provider) -> None:
    before = provider.smtp.connections
    ids = [enqueue_message(live.account_id, str(number)) for number in range(3)]
    drain_queue(live.account_id)
    assert {message(id_).status for id_ in ids} == {Status.SENT}
    assert provider.smtp.connections == before + 1


def test_other_fields_keep_the_connection_and_another_server_does_not(
    owner: LintingClient, live: SmtpSettings, provider: Provider
) -> None:
    form = {
        "provider": "microsoft365",
        "host": live.host,
        "username": live.username,
        "password": "",
        "domain": live.domain,
        "security": "starttls",
        "port": "587",
        "mechanism": "automatic",
        "wrapped_user": live.wrapped_user,
        "from_name": "Brightleaf affiliates",
        "reply_to": "",
    }
    assert owner.submit(PAGE, form).status_code == 303
    work()
    assert [version.grant_id for version in versions()] == [live.grant_id] * 2
    assert versions()[-1].state == "live"
    for change in ({"host": "mail.elsewhere.example"}, {"username": "other@brightleaf.example"}):
        response = owner.submit(PAGE, form | change)
        assert response.status_code == 422
        assert "this connection works only with the server and mailbox" in text_of(response)
    assert owner.submit(PAGE, form | {"password": "a password"}).status_code == 303
    assert versions()[-1].grant_id is None


def test_disconnecting_deletes_the_secrets_and_the_platform_sends(
    owner: LintingClient, stranger: LintingClient, live: SmtpSettings
) -> None:
    url = f"/settings/connect/{live.grant_id}/disconnect"
    assert stranger.submit(url, {}, page=PAGE).status_code == 404
    assert owner.submit(url, {}, page=PAGE).status_code == 303
    (grant,) = grants()
    assert grant.sealed_secret is None
    assert grant.sealed_access is None
    assert versions()[0].state == "retired"
    page = text_of(owner.get(PAGE))
    assert "is disconnected" in page
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert checks()[-1].diagnosis["code"] == "connection-ended"


def test_a_check_that_passes_after_its_connection_was_disconnected_makes_nothing_live(
    app: Flask, owner: LintingClient, provider: Provider
) -> None:
    assert owner.submit(MICROSOFT, FORM).status_code == 303
    url = f"/settings/connect/{grants()[0].id}/disconnect"

    def disconnect(peer: Peer, _line: bytes) -> None:
        assert owner.submit(url, {}, page=PAGE).status_code == 303
        peer.send(b"250 2.0.0 Ok: queued as 1\r\n")

    provider.smtp.script = lambda peer: serve_tokens(provider.issuer, peer, DOT=disconnect)
    work()
    assert [version.state for version in versions()] == ["draft"]
    assert checks()[0].diagnosis["code"] == "check-stopped"
    assert grants()[0].sealed_secret is None


def test_a_disconnected_draft_is_not_activated_by_hand(owner: LintingClient, provider: Provider) -> None:
    owner.submit(MICROSOFT, FORM)
    owner.submit(f"/settings/connect/{grants()[0].id}/disconnect", {}, page=PAGE)
    assert owner.submit(f"{PAGE}/versions/1/activate", {}, page=PAGE).status_code == 303
    assert "This mailbox was disconnected. Connect it again." in text_of(owner.get(PAGE))
    assert not operations.activate_if_proved(db.session.get_one(SmtpSettings, 1), now=utcnow())
    assert [version.state for version in versions()] == ["draft"]


@pytest.mark.parametrize("url", [MICROSOFT, GOOGLE])
def test_beyond_the_limit_of_checks_the_entries_stay(owner: LintingClient, url: str) -> None:
    use_up_the_checks()
    entered = FORM if url == MICROSOFT else {"mailbox": MAILBOX, "key": service_account_key()}
    response = owner.submit(url, entered)
    assert response.status_code == 429
    assert "checked these settings very often" in text_of(response)
    assert f'value="{MAILBOX}"' in text_of(response)
    assert not grants()


def test_discarding_a_failed_draft_deletes_its_secret_and_keeps_that_of_the_live_version(
    owner: LintingClient, live: SmtpSettings, provider: Provider
) -> None:
    provider.issuer.script = lambda _form: (401, {"error": "invalid_client"})
    owner.submit(MICROSOFT, FORM | {"client_secret": "another-secret"})
    work()
    assert owner.submit(f"{PAGE}/drafts/discard", {}, page=PAGE).status_code == 303
    first, second = grants()
    assert (first.ended_at, second.sealed_secret) == (None, None)
    assert second.ended_at is not None
    assert first.sealed_secret is not None


def test_the_daily_login_keeps_the_connection_proven(
    live: SmtpSettings, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    db.session.add(login_probe.first_schedule(db.session.get_one(SmtpSettings, live.id), utcnow()))
    db.session.commit()
    _not_at_the_end_of_an_hour.shift(timedelta(days=8))
    login_probe.run(live.id)
    assert len(provider.issuer.requests) == 2
    db.session.rollback()
    assert login_probe.get(live.id).passed_at >= utcnow() - timedelta(minutes=5)


@pytest.mark.parametrize(("left", "code"), [(31, None), (30, 30), (7, 7), (1, 1), (0, 1)])
def test_a_secret_that_expires_opens_an_incident_in_time(
    live: SmtpSettings, left: int, code: int | None
) -> None:
    version = db.session.get_one(SmtpSettings, live.id)
    probe = login_probe.first_schedule(version, utcnow())
    day = grants()[0].secret_expires_on
    version = db.session.get_one(SmtpSettings, live.id)
    now = utcnow().replace(year=day.year, month=day.month, day=day.day) - timedelta(days=left)
    expiry.check(version, probe, now=now)
    db.session.commit()
    assert [one.cause for one in incidents()] == ([f"client-secret-ends-{code}"] if code else [])


def test_the_page_offers_to_connect(owner: LintingClient) -> None:
    page = text_of(owner.get(f"{PAGE}/help?provider=microsoft365"))
    assert "Connect Microsoft 365 without a password" in page
    assert page.index("Connect Microsoft 365 without a password") < page.index(
        "Connect Microsoft 365 by signing in"
    )
    google = text_of(owner.get(f"{PAGE}/help?provider=gmail"))
    assert "Connect Google Workspace without a password" in google
    assert "/settings/connect/by-consent/google" in google
    assert "Connect Microsoft 365" in text_of(owner.get("/settings/connect"))
