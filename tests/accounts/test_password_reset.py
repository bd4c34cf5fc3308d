"""Password reset by email: links, their expiry and use, rate limits, and headers that must not influence them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, text, update

from portal.accounts import password_reset
from portal.accounts.models import Owner, PasswordReset
from portal.accounts.tokens import InvalidLink, hash_token
from portal.clock import utcnow
from portal.db import close_connections, db
from portal.outbox.models import OutboxMessage
from tests.accounts.conftest import ADA, link_in, mask_page, path_in, portal_emails
from tests.accounts.test_login import WRONG, log_in
from tests.conftest import PASSWORD, make_config
from tests.pages import csrf_token

NEW = "seven purple kettles"


def request_reset(browser, mailbox=ADA, **more):
    return browser.submit("/forgot-password", {"mailbox": mailbox}, **more)


def reset_path(browser):
    request_reset(browser)
    return path_in(portal_emails("password-reset")[-1][1])


def test_an_owner_gets_a_link_and_chooses_a_new_password(app, client, ada):
    path = reset_path(client)
    assert client.get(path).status_code == 200
    answer = client.submit(path, {"password": NEW})
    assert answer.location == "/log-in"
    assert log_in(app.test_client(), password=PASSWORD).status_code == 422
    assert log_in(app.test_client(), password=NEW).status_code == 303


def test_a_known_and_an_unknown_mailbox_get_the_same_answer(app, ada):
    browsers = [app.test_client(), app.test_client()]
    answers = [request_reset(b, m) for b, m in zip(browsers, [ADA, "eve@brightleaf.example"], strict=True)]
    assert [(a.status_code, a.location) for a in answers] == [(303, "/forgot-password/check-your-inbox")] * 2
    assert answers[0].data == answers[1].data
    pages = [b.get(answers[0].location).get_data(as_text=True) for b in browsers]
    assert mask_page(pages[0]) == mask_page(pages[1])
    assert [recipient for recipient, _ in portal_emails()] == [ADA]


def test_a_reset_logs_out_all_devices(app, owner):
    other = app.test_client()
    assert log_in(other).status_code == 303
    app.test_client().submit(reset_path(app.test_client()), {"password": NEW})
    assert owner.get("/account").status_code == 303
    assert other.get("/account").status_code == 303


def test_a_link_works_once(client, ada):
    path = reset_path(client)
    page = client.get(path).get_data(as_text=True)
    client.submit(path, {"password": NEW})
    assert client.get(path).status_code == 404
    again = client.post(
        path, data={"csrf_token": csrf_token(client.get("/log-in").text), "password": NEW + "!"}
    )
    assert again.status_code == 404
    assert "no longer works" in again.get_data(as_text=True)
    assert "no longer works" not in page


def test_of_concurrent_uses_of_a_link_one_succeeds(app, ada, client):
    token = reset_path(client).rsplit("/", 1)[1]

    def use(n):
        with app.app_context():
            try:
                password_reset.set_password(token, f"{NEW} {n}", reset_link="x", now=utcnow())
            except InvalidLink:
                return 0
            return 1

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(use, range(6))) == 1


def test_a_link_expires_after_an_hour(client, ada):
    with time_machine.travel(utcnow(), tick=False) as clock:
        path = reset_path(client)
        token = csrf_token(client.get(path).get_data(as_text=True))
        clock.shift(timedelta(minutes=59, seconds=59))
        assert client.get(path).status_code == 200
        clock.shift(timedelta(seconds=1))
        assert client.get(path).status_code == 404
        assert client.post(path, data={"csrf_token": token, "password": NEW}).status_code == 404
    assert log_in(client).status_code == 303


def test_using_a_link_invalidates_the_others(client, ada):
    first, second = reset_path(client), reset_path(client)
    client.submit(first, {"password": NEW})
    assert client.get(second).status_code == 404


def test_opening_a_link_does_not_use_it(client, ada):
    path = reset_path(client)
    for _ in range(5):
        client.get(path)
    assert client.submit(path, {"password": NEW}).status_code == 303


def test_a_refused_password_does_not_use_the_link(client, ada):
    path = reset_path(client)
    for bad in ("", "short", "password1234", "Brightleaf 2026", "x" * 129):
        answer = client.submit(path, {"password": bad})
        assert answer.status_code == 422, bad
        assert 'id="password-error"' in answer.get_data(as_text=True)
    assert client.submit(path, {"password": NEW}).status_code == 303


@pytest.mark.parametrize("token", ["x", "a" * 5000, "%00", "%ff", "é", "' OR 1=1 --"])
def test_an_invented_link_is_not_found(client, ada, token):
    assert client.get(f"/reset-password/{token}").status_code == 404


def test_a_reset_without_csrf_token_changes_nothing(client, ada):
    path = reset_path(client)
    assert client.post(path, data={"password": NEW}).status_code == 400
    assert client.submit(path, {"password": NEW}).status_code == 303


def test_a_mailbox_gets_at_most_three_emails_a_day_and_the_page_stays_the_same(client, ada):
    with time_machine.travel(utcnow()) as clock:
        for hours in range(0, 21, 4):
            clock.move_to(utcnow().replace(hour=0) + timedelta(hours=hours))
            answers = [request_reset(client, m).location for m in [ADA, ADA.upper(), f" {ADA}", ADA, ADA]]
            assert set(answers) == {"/forgot-password/check-your-inbox"}
    assert len(portal_emails("password-reset")) == 3
    assert "at most three such emails a day" in client.get(answers[0]).get_data(as_text=True)


def test_strangers_cannot_use_up_the_links_of_a_browser_in_which_the_owner_logged_in(app, client, ada):
    log_in(client)
    client.submit("/log-out", {}, page="/account")
    for _ in range(6):
        request_reset(app.test_client())
    assert len(portal_emails("password-reset")) == 3
    for _ in range(4):
        request_reset(client)
    assert len(portal_emails("password-reset")) == 6, "three an hour, of the browser's own"
    request_reset(client, "bo@copperpot.example")
    assert len(portal_emails()) == 6, "another mailbox gets nothing by it"


def test_a_network_has_a_rate_limit(client, ada):
    for n in range(50):
        assert request_reset(client, f"p{n}@brightleaf.example").status_code == 303
    answer = request_reset(client)
    assert answer.status_code == 429
    assert f'value="{ADA}"' in answer.get_data(as_text=True)
    assert portal_emails() == []


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
def test_the_link_does_not_depend_on_request_headers(client, ada, headers):
    token = csrf_token(client.get("/forgot-password").get_data(as_text=True))
    answer = client.post("/forgot-password", data={"csrf_token": token, "mailbox": ADA}, headers=headers)
    found = portal_emails("password-reset")
    assert answer.status_code in {303, 400}
    assert "evil" not in (answer.location or "")
    assert all(link_in(text).startswith("http://127.0.0.1/reset-password/") for _, text in found)
    if answer.status_code == 400:
        assert found == []


def test_only_the_hash_of_the_token_is_stored(config, client, ada):
    token = reset_path(client).rsplit("/", 1)[1]
    assert db.session.scalars(select(PasswordReset.token_hash)).all() == [hash_token(token)]
    db.session.remove()
    files = [f for f in config.instance.rglob("*") if f.is_file()]
    assert files
    assert not [f for f in files if token.encode() in f.read_bytes()]


def test_the_email_belongs_to_no_account_and_is_sealed(client, ada):
    request_reset(client)
    row = db.session.scalars(select(OutboxMessage)).one()
    assert row.account_id is None
    assert row.is_sealed


def test_the_owner_gets_an_email_that_the_password_was_changed(client, ada):
    client.submit(reset_path(client), {"password": NEW})
    ((recipient, text),) = portal_emails("password-changed")
    assert recipient == ADA
    assert path_in(text) == "/forgot-password"


def test_a_reset_also_resets_the_log_in_rate_limit(client, ada):
    for _ in range(11):
        log_in(client, password=WRONG)
    assert log_in(client).status_code == 429
    client.submit(reset_path(client), {"password": NEW})
    assert log_in(client, password=NEW).status_code == 303


@pytest.mark.parametrize(
    "mailbox", ["", "   ", "ada", "a" * 300 + "@x.example", "ada@x.example\r\nBcc: b@x.example"]
)
def test_an_invalid_mailbox_has_an_error(client, mailbox):
    answer = request_reset(client, mailbox)
    assert answer.status_code == 422
    assert 'id="mailbox-error"' in answer.get_data(as_text=True)


class TestWithoutMailServer:
    """The portal cannot send email. The page must not reveal it, and the operator can create a link."""

    @pytest.fixture
    def config(self, tmp_path):
        return make_config(tmp_path / "instance", env={"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""})

    def test_the_page_is_the_same_and_nothing_is_enqueued(self, client, ada):
        assert request_reset(client).location == "/forgot-password/check-your-inbox"
        assert portal_emails() == []

    def test_the_operator_can_create_a_link(self, client, ada):
        token = password_reset.create_reset_token(ADA, now=utcnow())
        assert client.submit(f"/reset-password/{token}", {"password": NEW}).status_code == 303
        assert log_in(client, password=NEW).status_code == 303
        assert portal_emails() == []

    def test_an_unknown_mailbox_has_no_link(self, app):
        assert password_reset.create_reset_token("eve@x.example", now=utcnow()) is None


@pytest.mark.only_postgresql
def test_a_reset_that_meets_a_change_of_the_mailbox_waits_and_its_link_has_ended(app, ada):
    """Both lock the person before the link. A mailbox that is brought back ends the links of before."""
    ada_id = db.session.scalars(select(Owner.id).where(Owner.mailbox == ADA)).one()
    token = password_reset.create_reset_token(ADA, now=utcnow())

    def reset():
        with app.app_context():
            return password_reset.set_password(token, NEW, reset_link="", now=utcnow())

    with ThreadPoolExecutor(1) as pool:
        db.session.get_one(Owner, ada_id, with_for_update={"of": Owner})  # as the change begins
        other = pool.submit(reset)
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        until = time.monotonic() + 60
        with db.engine.connect() as connection:
            while not connection.scalar(blocked) and time.monotonic() < until and not other.done():
                connection.rollback()
        assert not other.done()
        db.session.execute(update(PasswordReset).values(used_at=utcnow()))
        db.session.commit()
        with pytest.raises(InvalidLink):
            other.result(60)
    close_connections()
