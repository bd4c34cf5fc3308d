"""The page "Explain a reply" answers every input with a valid page."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.settings.models import SettingsCheck, SmtpSettings
from portal.settings.views_explain import _KIND_LABELS, _RETRY_LABELS
from portal.smtp.diagnosis.diagnose import DiagnosisKind, RetryClass
from portal.web.owner_limits import EXPLANATIONS
from tests.pages import LintingClient
from tests.settings.conftest import PAGE, text_of

EXPLAIN = "/settings/explain"
GOOGLE = {
    "server": "smtp.gmail.com",
    "stage": "auth",
    "reply": "535-5.7.8 Username and Password not accepted",
}


def test_a_reply_is_explained_by_cause_responsibility_fixes_and_kind(owner: LintingClient) -> None:
    response = owner.submit(EXPLAIN, GOOGLE)
    page = text_of(response)
    assert response.status_code == 200
    for words in (
        "requires an app password",
        "You",
        "apppasswords",
        "Username or password",
        "gmail-credentials",
    ):
        assert words in page
    assert f"{PAGE}#password" in page
    assert "535 5.7.8 Username and Password not accepted" in page, "the reply as the server sent it"


def test_the_settings_page_and_this_page_link_to_each_other(owner: LintingClient) -> None:
    assert f'href="{EXPLAIN}"' in text_of(owner.get(PAGE))
    assert f'href="{PAGE}"' in text_of(owner.get(EXPLAIN))


def test_a_reply_without_server_and_stage_is_explained(owner: LintingClient) -> None:
    page = text_of(owner.submit(EXPLAIN, {"server": "", "stage": "", "reply": "550 5.1.1 user unknown"}))
    assert "recipient-plainly-unknown" in page
    assert "Recipient accepted" in page


def test_the_form_keeps_the_input(owner: LintingClient) -> None:
    page = text_of(owner.submit(EXPLAIN, GOOGLE | {"reply": "550 <b>no</b> & so on"}))
    assert "550 &lt;b&gt;no&lt;/b&gt; &amp; so on</textarea>" in page
    assert 'value="smtp.gmail.com"' in page
    assert "<b>no</b>" not in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reply": ""}, "Paste the server’s reply."),
        ({"reply": " \r\n\t "}, "Paste the server’s reply."),
        ({"reply": "\x00\x1b\u202e"}, "Paste the server’s reply."),
        ({"reply": "550 no " * 2000}, "8,000 characters or fewer"),
        ({"stage": "breakfast"}, "Choose when you got the reply."),
        ({"server": "x" * 254}, "Use 253 characters or fewer."),
        ({"server": "smtp.\x00example.org"}, "invisible characters"),
    ],
)
def test_invalid_input_is_refused_with_a_sentence(
    owner: LintingClient, changes: dict[str, str], sentence: str
) -> None:
    response = owner.submit(EXPLAIN, GOOGLE | changes)
    assert response.status_code == 422
    assert sentence in text_of(response)
    assert "<title>Error: " in text_of(response)


def test_missing_fields_are_refused_with_a_sentence(owner: LintingClient) -> None:
    response = owner.submit(EXPLAIN, {})
    assert response.status_code == 422
    assert "Paste the server’s reply." in text_of(response)


@pytest.mark.parametrize(
    "reply",
    [
        "535 \x1b[31mAuthentication\x1b[0m failed\x00\x07",
        "550-5.7.1 one\r\n550-5.7.1 two\n550 5.7.1 three",
        "550 \ufffe\ufdd0\U0010ffff\ue000 nothing",
        "550 \u202egnihton\u2066",
        "</textarea><script>alert(1)</script>",
        "{{ 7 * 7 }} {username} %s",
        "550 Почтовый ящик не найден",
        "no code at all",
        "9" * 8000,
        "((" * 4000,
    ],
)
def test_any_reply_gives_a_valid_page(owner: LintingClient, reply: str) -> None:
    response = owner.submit(EXPLAIN, GOOGLE | {"reply": reply})
    assert response.status_code == 200
    page = text_of(response)
    assert "<script>alert" not in page
    assert not [c for c in page if ord(c) < 32 and c not in "\r\n\t"]


@pytest.mark.parametrize(
    "server", ["the server's name", "<b>", "smtp.gmail.com:587", "http://x/", "[::1]:25", "{host}"]
)
def test_any_server_name_gives_a_valid_page(owner: LintingClient, server: str) -> None:
    assert owner.submit(EXPLAIN, GOOGLE | {"server": server}).status_code == 200


def test_a_very_long_reply_is_refused(owner: LintingClient) -> None:
    response = owner.submit(EXPLAIN, GOOGLE | {"reply": "x" * 600_000})
    assert response.status_code == 413


def test_the_page_requires_a_login(client: FlaskClient) -> None:
    assert client.get(EXPLAIN).status_code in {302, 303}
    assert client.post(EXPLAIN, data=GOOGLE).status_code in {302, 303, 400}


def test_a_form_without_its_token_is_refused(owner: LintingClient) -> None:
    assert owner.post(EXPLAIN, data=GOOGLE).status_code == 400


def test_nothing_is_stored(owner: LintingClient) -> None:
    owner.submit(EXPLAIN, GOOGLE)
    for table in (OutboxMessage, SettingsCheck, SmtpSettings):
        assert db.session.scalar(select(func.count()).select_from(table)) == 0


def test_every_kind_and_every_retry_class_has_a_label() -> None:
    assert set(_KIND_LABELS) == set(DiagnosisKind)
    assert set(_RETRY_LABELS) == set(RetryClass)


def test_explanations_are_limited_per_account_and_the_reply_stays(owner, stranger):
    fields = {"server": "", "stage": "", "reply": "535 5.7.8 no such user"}
    for _ in range(EXPLANATIONS.amount):
        assert owner.submit(EXPLAIN, fields).status_code == 200
    answer = owner.submit(EXPLAIN, fields)
    assert answer.status_code == 429
    page = answer.get_data(as_text=True)
    assert "There were too many attempts in a short time. Wait " in page
    assert "535 5.7.8 no such user" in page
    assert stranger.submit(EXPLAIN, fields).status_code == 200
