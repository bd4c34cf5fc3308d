"""A forgotten password."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from portal.accounts import password_reset
from portal.accounts.models import PasswordReset
from portal.accounts.tokens import hash_token
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
from tests.accounts.conftest import ADA, link_in, mails, masked, path_in
from tests.accounts.test_login import WRONG, try_in
from tests.conftest import PASSWORD, make_config
from tests.pages import csrf_token

NEW = "seven purple kettles"


def ask(browser, mailbox=ADA, **more):
    return browser.submit("/forgot-password", {"mailbox": mailbox}, **more)


def link_for_ada(browser):
    ask(browser)
    return path_in(mails("password-reset")[-1][1])


def test_an_owner_gets_a_link_and_chooses_a_new_password(app, client, ada):
    path = link_for_ada(client)
    assert client.get(path).status_code == 200
    answer = client.submit(path, {"password": NEW})
    assert answer.location == "/log-in"
    assert try_in(app.test_client(), password=PASSWORD).status_code == 422
    assert try_in(app.test_client(), password=NEW).status_code == 303


def test_a_known_and_an_unknown_mailbox_get_the_same_answer(app, ada):
    browsers = [app.test_client(), app.test_client()]
    answers = [ask(b, m) for b, m in zip(browsers, [ADA, "eve@brightleaf.example"], strict=True)]
    assert [(a.status_code, a.location) for a in answers] == [(303, "/forgot-password/check-your-inbox")] * 2
    assert answers[0].data == answers[1].data
    pages = [b.get(answers[0].location).get_data(as_text=True) for b in browsers]
    assert masked(pages[0]) == masked(pages[1])
    assert [recipient for recipient, _ in mails()] == [ADA]


def test_every_device_is_logged_out_by_a_reset(app, owner):
    other = app.test_client()
    assert try_in(other).status_code == 303
    app.test_client().submit(link_for_ada(app.test_client()), {"password": NEW})
    assert owner.get("/account").status_code == 303
    assert other.get("/account").status_code == 303


def test_a_link_works_once(client, ada):
    path = link_for_ada(client)
    page = client.get(path).get_data(as_text=True)
    client.submit(path, {"password": NEW})
    assert client.get(path).status_code == 404
    again = client.post(
        path, data={"csrf_token": csrf_token(client.get("/log-in").text), "password": NEW + "!"}
    )
    assert again.status_code == 404
    assert "no longer works" in again.get_data(as_text=True)
    assert "no longer works" not in page


def test_of_two_who_use_a_link_at_once_one_succeeds(app, ada, client):
    token = link_for_ada(client).rsplit("/", 1)[1]

    def use(n):
        with app.app_context():
            try:
                password_reset.set_password(token, f"{NEW} {n}", reset_link="x", now=utcnow())
            except password_reset.LinkExpired:
                return 0
            return 1

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(use, range(6))) == 1


def test_a_link_expires_after_an_hour(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        path = link_for_ada(client)
        token = csrf_token(client.get(path).get_data(as_text=True))
        clock.shift(timedelta(minutes=59, seconds=59))
        assert client.get(path).status_code == 200
        clock.shift(timedelta(seconds=1))
        assert client.get(path).status_code == 404
        assert client.post(path, data={"csrf_token": token, "password": NEW}).status_code == 404
    assert try_in(client).status_code == 303


def test_a_used_link_closes_the_others_too(client, ada):
    first, second = link_for_ada(client), link_for_ada(client)
    client.submit(first, {"password": NEW})
    assert client.get(second).status_code == 404


def test_looking_at_a_link_uses_nothing(client, ada):
    path = link_for_ada(client)
    for _ in range(5):
        client.get(path)
    assert client.submit(path, {"password": NEW}).status_code == 303


def test_a_refused_password_leaves_the_link_working(client, ada):
    path = link_for_ada(client)
    for bad in ("", "short", "password1234", "Brightleaf 2026", "x" * 129):
        answer = client.submit(path, {"password": bad})
        assert answer.status_code == 422, bad
        assert 'id="password-error"' in answer.get_data(as_text=True)
    assert client.submit(path, {"password": NEW}).status_code == 303


@pytest.mark.parametrize("token", ["x", "a" * 5000, "%00", "%ff", "é", "' OR 1=1 --"])
def test_an_invented_link_is_told_so(client, ada, token):
    assert client.get(f"/reset-password/{token}").status_code == 404


def test_a_reset_without_token_against_forgery_changes_nothing(client, ada):
    path = link_for_ada(client)
    assert client.post(path, data={"password": NEW}).status_code == 400
    assert client.submit(path, {"password": NEW}).status_code == 303


def test_three_mails_an_hour_are_sent_and_the_page_stays_the_same(client, ada):
    answers = [ask(client, m).location for m in [ADA, ADA.upper(), f" {ADA}", ADA, ADA]]
    assert set(answers) == {"/forgot-password/check-your-inbox"}
    assert len(mails("password-reset")) == 3


def test_a_network_that_asks_for_many_waits(client, ada):
    for n in range(50):
        assert ask(client, f"p{n}@brightleaf.example").status_code == 303
    answer = ask(client)
    assert answer.status_code == 429
    assert f'value="{ADA}"' in answer.get_data(as_text=True)
    assert mails() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1:8080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1@evil.example"},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:99"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Proto": "gopher"},
        {"X-Original-Host": "evil.example"},
        {"Forwarded": "host=evil.example"},
        {"X-Forwarded-Prefix": "/evil"},
        {"X-Forwarded-For": "evil.example"},
        {"X-Rewrite-Url": "http://evil.example/"},
    ],
)
def test_the_link_never_follows_a_header(client, ada, headers):
    token = csrf_token(client.get("/forgot-password").get_data(as_text=True))
    answer = client.post("/forgot-password", data={"csrf_token": token, "mailbox": ADA}, headers=headers)
    found = mails("password-reset")
    assert answer.status_code in {303, 400}
    assert "evil" not in (answer.location or "")
    assert all(link_in(text).startswith("http://127.0.0.1/reset-password/") for _, text in found)
    if answer.status_code == 400:
        assert found == []


def test_the_token_is_stored_as_its_hash_only(config, client, ada):
    token = link_for_ada(client).rsplit("/", 1)[1]
    assert db.session.scalars(select(PasswordReset.token_hash)).all() == [hash_token(token)]
    db.session.remove()
    files = [f for f in config.instance.rglob("*") if f.is_file()]
    assert files
    assert not [f for f in files if token.encode() in f.read_bytes()]


def test_the_mail_belongs_to_no_account(client, ada):
    ask(client)
    row = db.session.scalars(select(OutboxMessage)).one()
    assert row.account_id is None
    assert row.is_sealed


def test_the_owner_is_told_that_the_password_was_changed(client, ada):
    client.submit(link_for_ada(client), {"password": NEW})
    ((recipient, text),) = mails("password-changed")
    assert recipient == ADA
    assert path_in(text) == "/forgot-password"


def test_a_reset_lets_an_owner_in_whom_somebody_had_locked_out(client, ada):
    for _ in range(11):
        try_in(client, password=WRONG)
    assert try_in(client).status_code == 429
    client.submit(link_for_ada(client), {"password": NEW})
    assert try_in(client, password=NEW).status_code == 303


@pytest.mark.parametrize(
    "mailbox", ["", "   ", "ada", "a" * 300 + "@x.example", "ada@x.example\r\nBcc: b@x.example"]
)
def test_what_is_no_mailbox_is_named(client, mailbox):
    answer = ask(client, mailbox)
    assert answer.status_code == 422
    assert 'id="mailbox-error"' in answer.get_data(as_text=True)


class TestWithoutAServer:
    """Nothing could be mailed; the page must not say so, and the operator can help."""

    @pytest.fixture
    def config(self, tmp_path):
        return make_config(tmp_path / "instance", env={"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""})

    def test_the_page_looks_the_same_and_nothing_is_owed(self, client, ada):
        assert ask(client).location == "/forgot-password/check-your-inbox"
        assert mails() == []

    def test_the_operator_can_make_a_link(self, client, ada):
        token = password_reset.create_reset_token(ADA, now=utcnow())
        assert client.submit(f"/reset-password/{token}", {"password": NEW}).status_code == 303
        assert try_in(client, password=NEW).status_code == 303
        assert mails() == []

    def test_for_an_unknown_mailbox_there_is_no_link(self, app):
        assert password_reset.create_reset_token("eve@x.example", now=utcnow()) is None
