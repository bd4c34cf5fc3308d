"""Errors of token endpoints: what is read of them, whether they are final, and what the page says."""

from __future__ import annotations

import pytest

from portal.smtp.diagnosis.diagnose import explain
from portal.smtp.failure import Reason, Stage
from portal.smtp.token_errors import read_token_error, token_failure

EXPIRED = (
    '{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired due to inactivity.'
    '\\r\\nTrace ID: 1","error_codes":[700082]}'
)


def test_an_answer_is_read() -> None:
    assert read_token_error(EXPIRED) == {
        "error": "invalid_grant",
        "number": "700082",
        "description": "AADSTS700082: The refresh token has expired due to inactivity.  Trace ID: 1",
    }


@pytest.mark.parametrize(
    "text", ["", "535 5.7.8 no", "{}", '{"error": 5}', '{"error": "' + "a" * 9000, "[" * 9000, "AADSTS"]
)
def test_what_is_no_token_error_is_none(text: str) -> None:
    assert read_token_error(text) == {}


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        (EXPIRED, 400, Reason.TOKEN_REFUSED),
        ('{"error":"temporarily_unavailable"}', 400, Reason.TOKEN_UNAVAILABLE),
        ('{"error":"invalid_grant","error_description":"AADSTS50196: loop"}', 400, Reason.TOKEN_UNAVAILABLE),
        ("<html>Bad gateway</html>", 502, Reason.TOKEN_UNAVAILABLE),
        ("", 429, Reason.TOKEN_UNAVAILABLE),
        ("", 404, Reason.TOKEN_REFUSED),
    ],
)
def test_status_and_error_decide_whether_a_refusal_is_final(text: str, status: int, reason: Reason) -> None:
    failure = token_failure(text, issuer="Microsoft", status=status)
    assert (failure.stage, failure.reason) == (Stage.CONSENT, reason)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (EXPIRED, "consent-lapsed"),
        ("error: AADSTS700082: The refresh token has expired", "consent-lapsed"),
        (
            '{"error":"invalid_grant","error_description":"Token has been expired or revoked."}',
            "consent-expired-or-revoked",
        ),
        ('{"error":"invalid_grant","error_description":"AADSTS50173: revoked"}', "consent-withdrawn"),
        ('{"error":"invalid_grant","error_description":"AADSTS53003: blocked"}', "consent-needs-person"),
        ('{"error":"interaction_required"}', "consent-needs-sign-in"),
        ('{"error":"invalid_client","error_description":"AADSTS7000222: expired"}', "client-secret-expired"),
        (
            '{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}',
            "client-secret-wrong",
        ),
        ('{"error":"invalid_request","error_description":"AADSTS90002: Tenant not found"}', "tenant-unknown"),
        ('{"error":"unauthorized_client","error_description":"AADSTS700016: not found"}', "client-unknown"),
        ('{"error":"invalid_grant","error_description":"AADSTS65001: not consented"}', "consent-missing"),
        (
            '{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens '
            'using this method, or client not authorized for any of the scopes requested."}',
            "service-account-not-authorised",
        ),
        ('{"error":"invalid_grant","error_description":"Invalid JWT Signature."}', "service-account-key"),
        (
            '{"error":"invalid_grant","error_description":"Invalid email or User ID"}',
            "service-account-mailbox",
        ),
        (
            '{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) '
            'and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}',
            "clock-wrong",
        ),
        ('{"error":"invalid_grant"}', "consent-invalid"),
        ('{"error":"invalid_client"}', "client-refused"),
        ('{"error":"a_new_error"}', "token-refused"),
        ('{"error":"temporarily_unavailable"}', "token-endpoint-unreachable"),
    ],
)
def test_a_pasted_answer_is_explained(text: str, code: str) -> None:
    found = explain("", "auth", text)
    assert found.code == code
    assert found.kind == "consent"
    assert found.retry_class == ("server" if code == "token-endpoint-unreachable" else "settings")
