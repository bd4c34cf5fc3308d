"""Access tokens: fetched once by one worker, kept while valid, and every failure of the token endpoint told apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from portal.clock import utcnow
from portal.db import db
from portal.db.transaction import session_in_transaction
from portal.oauth import tokens
from portal.oauth.models import OAuthGrant
from portal.oauth.tokens import GrantTokens
from portal.smtp.failure import Reason, Stage, SubmissionFailure
from portal.smtp.server import AccessToken, Secret
from tests.oauth.conftest import CLIENT, MAILBOX, SECRET, TENANT, Provider, grants, new_grant
from tests.outbox.support import new_account, run_together

pytestmark = pytest.mark.both_databases


@pytest.fixture
def source(app: Flask) -> GrantTokens:
    return GrantTokens(new_grant(new_account()))


def failure_of(source: GrantTokens) -> SubmissionFailure:
    with pytest.raises(SubmissionFailure) as raised:
        source.fetch()
    assert not session_in_transaction()
    return raised.value


def test_the_request_is_that_of_client_credentials(source: GrantTokens, provider: Provider) -> None:
    token = source.fetch()
    assert token.secret.reveal() == "canary-token-1"
    assert MAILBOX in token.sentence
    assert provider.issuer.requests == [
        (
            f"/{TENANT}/oauth2/v2.0/token",
            {
                "grant_type": "client_credentials",
                "client_id": CLIENT,
                "client_secret": SECRET,
                "scope": "https://outlook.office365.com/.default",
            },
        )
    ]
    assert not session_in_transaction()


def test_a_token_is_kept_until_a_minute_before_its_end(
    source: GrantTokens, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    source.fetch()
    assert source.fetch().secret.reveal() == "canary-token-1"
    assert len(provider.issuer.requests) == 1
    _not_at_the_end_of_an_hour.shift(timedelta(seconds=3545))
    assert source.fetch().secret.reveal() == "canary-token-2"
    (grant,) = grants()
    assert (grant.generation, grant.lease_until, grant.trouble) == (2, None, None)
    assert b"canary" not in (grant.sealed_access or b"")


def test_of_eight_threads_one_fetches_the_token(app: Flask, source: GrantTokens, provider: Provider) -> None:
    found = run_together(app, 8, lambda _: source.fetch().secret.reveal())
    assert found == ["canary-token-1"] * 8
    assert len(provider.issuer.requests) == 1


@pytest.mark.thorough
def test_of_four_processes_one_fetches_the_token(app: Flask, source: GrantTokens, provider: Provider) -> None:
    release = threading.Event()
    provider.issuer.script = lambda _form: release.wait(60) and None  # type: ignore[func-returns-value]
    config = app.extensions["signet"].config
    env = {
        "SECRET_KEY": config.secret_key,
        "SIGNET_KEYS": config.keyring,
        "DATABASE_URL": config.database_url,
        "SIGNET_INSTANCE": str(config.instance),
        "SIGNET_MICROSOFT_LOGIN_URL": config.oauth.microsoft_login_url,
        "SIGNET_HOOK_PRIVATE": f"127.0.0.1/32:{provider.issuer.port}:plaintext",
    }
    code = (
        "from portal import create_app\nfrom portal.oauth.tokens import GrantTokens\n"
        f"with create_app().app_context():\n    print(GrantTokens({source.grant_id}).fetch().secret.reveal())"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    ran = [
        subprocess.Popen(command, env=os.environ | env, cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    release.set()
    assert [one.communicate(timeout=300)[0].strip() for one in ran] == ["canary-token-1"] * 4
    assert len(provider.issuer.requests) == 1


def test_the_lease_of_a_killed_worker_lapses(source: GrantTokens, provider: Provider) -> None:
    claim = tokens._claim(source.grant_id, 0)
    assert claim is not None
    assert tokens._claim(source.grant_id, 0) is None, "another worker has the lease"
    db.session.execute(update(OAuthGrant).values(lease_until=utcnow() - timedelta(seconds=1)))
    db.session.commit()
    assert source.fetch().secret.reveal() == "canary-token-1"
    assert tokens._claim(source.grant_id, 0) is None, "a token was stored since"
    tokens._store(claim, tokens.TokenAnswer("a late answer", 3600), timedelta())
    assert source.fetch().secret.reveal() == "canary-token-1", "a late answer replaces no newer token"


@pytest.mark.parametrize(
    ("answer", "reason", "error"),
    [
        ((400, {"error": "invalid_grant"}), Reason.TOKEN_REFUSED, "invalid_grant"),
        (
            (401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret"}),
            Reason.TOKEN_REFUSED,
            "invalid_client",
        ),
        ((429, {"error": "too_many"}), Reason.TOKEN_UNAVAILABLE, "too_many"),
        ((503, "<html>busy</html>"), Reason.TOKEN_UNAVAILABLE, None),
        ((302, ""), Reason.TOKEN_UNAVAILABLE, None),
        ((403, "<html>blocked by a firewall</html>"), Reason.TOKEN_UNAVAILABLE, None),
        ((407, ""), Reason.TOKEN_UNAVAILABLE, None),
        ((200, "<html>a proxy</html>"), Reason.TOKEN_UNAVAILABLE, None),
        ((200, {"access_token": "two words"}), Reason.TOKEN_UNAVAILABLE, None),
        ((200, {"access_token": "a\x01user=other"}), Reason.TOKEN_UNAVAILABLE, None),
        ((200, {"access_token": 5}), Reason.TOKEN_UNAVAILABLE, None),
        ((200, "x" * 70_000), Reason.TOKEN_UNAVAILABLE, None),
        ((200, "[" * 60_000), Reason.TOKEN_UNAVAILABLE, None),
    ],
)
def test_other_answers_are_failures(
    source: GrantTokens, provider: Provider, answer, reason: Reason, error: str | None
) -> None:
    provider.issuer.script = lambda _form: answer
    failure = failure_of(source)
    assert (failure.stage, failure.reason) == (Stage.CONSENT, reason)
    assert failure.evidence.get("error") == error
    assert failure.evidence["issuer"] == "Microsoft"


def test_after_a_failure_all_wait_before_the_next_request(
    app: Flask, source: GrantTokens, provider: Provider, _not_at_the_end_of_an_hour
) -> None:
    provider.issuer.script = lambda _form: (503, "")
    first = failure_of(source)
    assert [type(one) for one in run_together(app, 4, lambda _: source.fetch())] == [SubmissionFailure] * 4
    assert failure_of(source).evidence == first.evidence
    assert len(provider.issuer.requests) == 1
    provider.issuer.script = lambda _form: None
    _not_at_the_end_of_an_hour.shift(timedelta(seconds=31))
    assert source.fetch().secret.reveal() == "canary-token-2"


def test_a_failure_leaves_the_present_token(source: GrantTokens, provider: Provider) -> None:
    token = source.fetch()
    provider.issuer.script = lambda _form: (503, "")
    db.session.rollback()
    again = source.fetch()  # from the table
    with pytest.raises(SubmissionFailure):
        source.renew(again)
    assert source.fetch().secret.reveal() == token.secret.reveal()


def test_a_refused_token_is_replaced_once(source: GrantTokens) -> None:
    fresh = source.fetch()
    assert source.renew(fresh) is None, "it was fetched for this log-in"
    stored = source.fetch()
    newer = source.renew(stored)
    assert newer is not None
    assert newer.secret.reveal() == "canary-token-2"
    other_workers = AccessToken(Secret("canary-token-1"), "")
    found = source.renew(other_workers)
    assert found is not None
    assert found.secret.reveal() == "canary-token-2", "fetched by another worker meanwhile"


def test_a_discarded_token_is_fetched_again_also_after_a_failure(
    source: GrantTokens, provider: Provider
) -> None:
    provider.issuer.script = lambda _form: (400, {"error": "unauthorized_client"})
    failure_of(source)
    provider.issuer.script = lambda _form: None
    tokens.discard(source.grant_id)
    assert source.fetch().secret.reveal() == "canary-token-2"
    tokens.discard(source.grant_id)
    assert source.fetch().secret.reveal() == "canary-token-3"


def test_a_check_leaves_the_request_of_another_worker(source: GrantTokens) -> None:
    claim = tokens._claim(source.grant_id, 0)
    assert claim is not None
    tokens.discard(source.grant_id)
    assert tokens._claim(source.grant_id, 0) is None, "the other worker still has the lease"
    tokens._store(claim, tokens.TokenAnswer("canary-token-9", 3600), timedelta())
    assert source.fetch().secret.reveal() == "canary-token-9"


def test_a_token_of_16000_octets_is_kept_whole(source: GrantTokens, provider: Provider) -> None:
    provider.issuer.padding = "x" * 15_900
    assert source.fetch().secret.reveal() == source.fetch().secret.reveal() == "canary-token-1" + "x" * 15_900


def test_an_issuer_that_cannot_be_reached_is_no_refusal(source: GrantTokens, provider: Provider) -> None:
    provider.issuer.__exit__()
    failure = failure_of(source)
    assert failure.reason is Reason.TOKEN_UNAVAILABLE
    provider.issuer.__enter__()


def test_a_secret_that_the_issuer_echoes_is_in_no_evidence(source: GrantTokens, provider: Provider) -> None:
    provider.issuer.script = lambda form: (
        400,
        {"error": "invalid_client", "error_description": f"no: {form['client_secret']}"},
    )
    assert "canary" not in json.dumps(dict(failure_of(source).evidence))
    assert "canary" not in json.dumps(grants()[0].trouble)


def test_a_secret_under_a_lost_key_is_reported(app: Flask, source: GrantTokens) -> None:
    db.session.execute(update(OAuthGrant).values(client_id="another"))  # no longer what it was sealed for
    db.session.commit()
    assert failure_of(source).evidence["error"] == "secret_not_openable"
    assert grants()[0].lease_until is None, "nothing was requested"


def test_a_source_shows_no_secret(source: GrantTokens) -> None:
    assert "canary" not in repr(source.fetch()) + repr(source)
    assert source == GrantTokens(source.grant_id)
