"""What can go wrong on the way to a connection, by name: each gets a sentence, and nothing that was entered is lost."""

from __future__ import annotations

import json
from datetime import timedelta
from html import unescape

import pytest

from portal.oauth.tokens import GrantTokens
from portal.outbox.models import Status
from portal.outbox.sending.drain import drain_queue
from tests.oauth.conftest import (
    FORM,
    GOOGLE,
    MAILBOX,
    MICROSOFT,
    SECRET,
    Provider,
    grants,
    service_account_key,
)
from tests.oauth.test_consent import GOOGLE_FORM, come_back, config, consent
from tests.outbox.support import enqueue_message, message
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, checks, text_of, versions, work

__all__ = ["config"]
pytestmark = pytest.mark.both_databases


def test_a_token_of_4000_octets_logs_in(owner: LintingClient, provider: Provider) -> None:
    provider.issuer.padding = "x" * 4000
    owner.submit(MICROSOFT, FORM)
    work()
    (version,) = versions()
    assert version.state == "live", checks()[-1].diagnosis
    id_ = enqueue_message(version.account_id, "one")
    drain_queue(version.account_id)
    assert message(id_).status is Status.SENT
    assert len(provider.issuer.requests) == 1, "the whole token was stored"


def test_an_issuer_that_is_down_when_the_code_comes_loses_no_entry(
    owner: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider)
    provider.issuer.__exit__()
    response = come_back(owner, found)
    page = unescape(text_of(response))
    assert response.status_code == 400
    assert "Microsoft did not answer correctly" in page
    assert f'value="{MAILBOX}"' in page
    assert SECRET not in page
    provider.issuer.__enter__()
    assert come_back(owner, consent(owner, provider)).status_code in {303, 400}
    assert not versions() or versions()[0].grant_id


def test_an_issuer_that_is_down_during_the_check_is_distinguished_from_a_refusal(
    owner: LintingClient, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    provider.issuer.script = lambda _form: (503, "")
    owner.submit(MICROSOFT, FORM)
    work()
    assert versions()[0].state == "draft"
    assert checks()[-1].diagnosis["code"] == "token-endpoint-unreachable"
    provider.issuer.script = lambda _form: None
    _not_at_the_end_of_an_hour.shift(timedelta(seconds=31))
    owner.submit(f"{PAGE}/versions/1/check", {}, page=PAGE)
    work()
    assert versions()[0].state == "live", checks()[-1].diagnosis


def test_an_issuer_that_is_down_does_not_keep_a_connection_from_being_ended(
    owner: LintingClient, provider: Provider
) -> None:
    found = consent(owner, provider, GOOGLE_FORM, "google")
    found.scope = "https://mail.google.com/ openid email"
    assert come_back(owner, found).status_code == 303
    provider.issuer.__exit__()
    response = owner.submit(f"/settings/connect/{grants()[0].id}/disconnect", {}, page=PAGE)
    assert response.status_code == 303
    assert "myaccount.google.com/connections" in text_of(owner.get(PAGE))
    assert grants()[0].sealed_refresh is None
    provider.issuer.__enter__()


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ("Invalid JWT Signature.", "service-account-key"),
        (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            "clock-wrong",
        ),
        ("Invalid email or User ID", "service-account-mailbox"),
    ],
)
def test_a_key_that_ended_and_a_wrong_clock_are_distinguished(
    owner: LintingClient, provider: Provider, description: str, code: str
) -> None:
    provider.issuer.script = lambda _form: (400, {"error": "invalid_grant", "error_description": description})
    owner.submit(GOOGLE, {"mailbox": MAILBOX, "key": service_account_key()})
    work()
    assert checks()[-1].diagnosis["code"] == code
    assert "PRIVATE KEY" not in json.dumps(checks()[-1].diagnosis) + checks()[-1].transcript


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_by_an_hour_costs_no_connection(
    owner: LintingClient, provider: Provider, _not_at_the_end_of_an_hour, hours: int
) -> None:
    assert come_back(owner, consent(owner, provider)).status_code == 303
    work()
    assert versions()[0].state == "live", checks()[-1].diagnosis
    _not_at_the_end_of_an_hour.shift(timedelta(hours=hours))
    assert GrantTokens(grants()[0].id).fetch().secret.reveal() in provider.issuer.valid


@pytest.mark.parametrize("mailbox", [f" {MAILBOX} ", MAILBOX.upper()])
def test_another_spelling_of_the_mailbox_is_the_same_person(
    owner: LintingClient, provider: Provider, mailbox: str
) -> None:
    found = consent(owner, provider)
    found.mailbox = mailbox
    assert come_back(owner, found).status_code == 303
    work()
    assert versions()[0].state == "live", checks()[-1].diagnosis
