"""Credential checks find mistakes by their shape and never repeat the secret."""

from __future__ import annotations

import pytest

from portal.smtp.providers import CredentialWarning, check_credentials, load_catalogue

APP_PASSWORD = "abcdefghijklmnop"
GRID_KEY = "SG.abcdefghijklmnopqrstuvwx"
GUN_KEY = "key-0123456789abcdef0123456789abcdef"
POSTMASTER = "postmaster@mg.example.com"


def warnings_by_code(
    host: str, username: str, password: str, domain: str = ""
) -> dict[str, CredentialWarning]:
    return {one.code: one for one in check_credentials(host, username, password, domain)}


def test_correct_credentials_cause_no_warning() -> None:
    assert (
        warnings_by_code(
            "smtp.mailgun.org", "postmaster@mg.example.com", "s3cret-of-mailgun", "mg.example.com"
        )
        == {}
    )
    assert warnings_by_code("smtp.gmail.com", "ada@example.com", APP_PASSWORD, "example.com") == {}
    assert warnings_by_code("smtp.sendgrid.net", "apikey", GRID_KEY) == {}
    assert warnings_by_code("mail.example.net", "ada", "whatever it may be") == {}
    assert warnings_by_code("smtp.gmail.com", "ada@example.com", "") == {}


def test_spaces_in_an_app_password_do_not_block_and_a_normal_password_does() -> None:
    spaced = warnings_by_code("smtp.gmail.com", "ada@example.com", "abcd efgh ijkl mnop")[
        "app-password-spaces"
    ]
    assert not spaced.blocking
    assert "3 spaces" in spaced.sentence
    normal = warnings_by_code("smtp.gmail.com", "ada@example.com", "hunter2!")["no-app-password"]
    assert normal.blocking
    assert "8 characters" in normal.sentence


@pytest.mark.parametrize(
    ("host", "username", "password", "code", "field", "suggestion"),
    [
        ("smtp.sendgrid.net", GRID_KEY, "x", "wrong-field", "username", "apikey"),
        ("smtp.sendgrid.net", "ada@example.com", GRID_KEY, "literal-username", "username", "apikey"),
        ("smtp.resend.com", "Resend me", "re_abcdefghijkl", "literal-username", "username", "resend"),
        ("smtp.mailgun.org", POSTMASTER, GRID_KEY, "other-providers-secret", "password", None),
        ("smtp.mailgun.org", POSTMASTER, GUN_KEY, "not-for-smtp", "password", None),
        ("email-smtp.eu-west-1.amazonaws.com", "x", "AKIAIOSFODNN7EXAMPLE", "wrong-field", "password", None),
        ("smtp-relay.brevo.com", "a@smtp-brevo.com", "xkeysib-abc", "not-for-smtp", "password", None),
        ("smtp.fastmail.com", "ada", "x", "username-without-domain", "username", "ada@example.com"),
    ],
)  # fmt: skip
def test_a_secret_in_the_wrong_field_is_recognised(
    host: str, username: str, password: str, code: str, field: str, suggestion: str | None
) -> None:
    found = warnings_by_code(host, username, password, "example.com")[code]
    assert (found.field, found.suggestion, found.blocking) == (field, suggestion, True)


def test_public_mail_domains_and_website_logins_are_warned_about() -> None:
    found = warnings_by_code("smtp.mailgun.org", "ada@gmail.com", "x", "gmail.com")
    assert found["website-login"].field == "username"
    assert found["public-mail-domain"].field == "domain"


def test_microsofts_dates_are_named_and_personal_accounts_block() -> None:
    ends = warnings_by_code("smtp.office365.com", "ada@example.com", "x")["password-login-ends"]
    assert "2026" in ends.sentence
    assert not ends.blocking
    assert warnings_by_code("smtp-mail.outlook.com", "ada@outlook.com", "x")["password-login-ended"].blocking


def test_no_warning_contains_the_secret() -> None:
    secrets = [
        GRID_KEY,
        "re_abcdefghijkl",
        "AKIAIOSFODNN7EXAMPLE",
        "hunter2-hunter2",
        "abcd efgh ijkl mnop",
    ]
    for provider in load_catalogue():
        host = provider.hosts[0].name if provider.hosts else "mail.example.net"
        for secret in secrets:
            for one in [
                *check_credentials(host, "ada", secret, "gmail.com"),
                *check_credentials(host, secret, secret),
            ]:
                assert secret not in one.sentence
                assert secret not in (one.suggestion or "")


@pytest.mark.parametrize(
    ("username", "is_taken"),
    [
        ("SMTP_Injection", True),
        ("SMTP_Injection:X-MSYS-SUBACCOUNT=123", True),
        ("SMTP_Injection:", False),
        ("smtp_injection", False),
    ],
)
def test_sparkposts_username_may_name_a_subaccount(username: str, is_taken: bool) -> None:
    host = "smtp.sparkpostmail.com"
    assert ("literal-username" not in warnings_by_code(host, username, "x")) is is_taken
    provider = load_catalogue().by_host(host)
    assert provider is not None
    assert provider.takes_username(host, username) is is_taken
