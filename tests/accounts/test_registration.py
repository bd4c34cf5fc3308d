"""Registering, with and without a server that could carry the confirmation."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from portal.accounts.models import Account, Owner, PendingRegistration
from portal.clock import utcnow
from portal.db import db
from tests.accounts.conftest import ADA, link_in, mails, masked, path_in
from tests.conftest import make_config

NEW = "cy@dovetail.example"
FORM = {"programme": "Dovetail", "name": "Cy Young", "mailbox": NEW, "password": "seven purple kettles"}


def count(table=Owner):
    number = db.session.scalar(select(func.count()).select_from(table))
    db.session.commit()
    return number


def register(browser, **changes):
    return browser.submit("/register", {**FORM, **changes})


class TestWithAServer:
    """The mailbox is proved first."""

    def test_nothing_exists_until_the_link_is_confirmed(self, client):
        assert register(client).location == "/register/check-your-inbox"
        assert count() == count(Account) == 0
        ((recipient, text),) = mails("confirm-registration")
        assert recipient == NEW
        page = client.get(path_in(text)).get_data(as_text=True)
        assert "Dovetail" in page
        assert count() == 0, "a mail scanner that follows links confirms nothing"
        answer = client.submit(path_in(text), {})
        assert answer.location == "/settings/email-preferences"
        assert client.get("/account").status_code == 200
        assert count() == 1
        assert count(PendingRegistration) == 0

    def test_a_taken_mailbox_gets_the_same_answer_and_a_mail_of_its_own(self, app, ada, counting):
        free, taken = app.test_client(), app.test_client()
        answers = [register(free), register(taken, mailbox=ADA)]
        assert [a.status_code for a in answers] == [303, 303]
        assert answers[0].location == answers[1].location
        assert (counting.verified, counting.hashed) == (0, 2)
        pages = [b.get(answers[0].location).get_data(as_text=True) for b in (free, taken)]
        assert masked(pages[0]) == masked(pages[1])
        ((recipient, text),) = mails("already-registered")
        assert recipient == ADA
        assert path_in(text) == "/forgot-password"
        assert count() == 1

    def test_no_word_of_the_visitor_is_in_the_mail(self, client):
        register(client, programme="Cheap pills http://evil.example", name="Call 555 now")
        ((_, text),) = mails()
        assert "pills" not in text
        assert "555" not in text

    def test_the_link_is_of_the_configured_site(self, client):
        client.get("/register", headers={"Host": "localhost"})
        page = client.get("/register", headers={"Host": "localhost"})
        assert page.status_code == 200
        register(client)
        assert link_in(mails()[0][1]).startswith("http://127.0.0.1/register/")

    def test_a_link_works_once(self, app, client):
        register(client)
        path = path_in(mails()[0][1])
        client.submit(path, {})
        again = app.test_client().get(path)
        assert again.status_code == 404
        assert "no longer works" in again.get_data(as_text=True)

    def test_a_link_expires_after_a_day(self, client):
        with time_machine.travel(utcnow(), tick=False) as clock:
            register(client)
            path = path_in(mails()[0][1])
            clock.shift(timedelta(hours=23, minutes=59))
            assert client.get(path).status_code == 200
            clock.shift(timedelta(minutes=1))
            assert client.get(path).status_code == 404

    def test_another_browser_has_to_know_the_password(self, app, client):
        """Who registers a stranger's mailbox must not share the account the stranger then confirms."""
        register(client)
        path = path_in(mails()[0][1])
        other = app.test_client()
        assert other.submit(path, {}).status_code == 422
        assert other.submit(path, {"password": "what could it be?"}).status_code == 422
        assert count() == 0
        assert other.submit(path, {"password": FORM["password"]}).status_code == 303
        assert count() == 1

    def test_guessing_that_password_is_throttled(self, app, client):
        register(client)
        path = path_in(mails()[0][1])
        other = app.test_client()
        answers = [other.submit(path, {"password": f"guess number {n}"}).status_code for n in range(51)]
        assert set(answers[:50]) == {422}
        assert answers[50] == 429

    def test_of_two_registrations_for_a_mailbox_the_first_confirmed_counts(self, app):
        first, second = app.test_client(), app.test_client()
        register(first)
        register(second, programme="Other")
        paths = [path_in(text) for _, text in mails()]
        assert second.submit(paths[1], {}).status_code == 303
        assert first.get(paths[0]).status_code == 404
        assert db.session.scalars(select(Account.name)).all() == ["Other"]

    def test_a_mailbox_gets_three_mails_in_an_hour_and_the_page_stays_the_same(self, app):
        answers = [register(app.test_client(), mailbox=m).location for m in [NEW, NEW.upper(), NEW, NEW, NEW]]
        assert set(answers) == {"/register/check-your-inbox"}
        assert len(mails()) == 3

    def test_the_twenty_first_registration_of_a_network_waits(self, app):
        for n in range(20):
            assert register(app.test_client(), mailbox=f"p{n}@dovetail.example").status_code == 303
        browser = app.test_client()
        answer = register(browser)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 429
        assert 'value="Dovetail"' in page
        assert FORM["password"] not in page

    def test_the_token_is_stored_nowhere(self, app, config, client):
        register(client)
        token = path_in(mails()[0][1]).rsplit("/", 1)[1]
        assert len(token) == 43
        db.session.remove()
        files = [f for f in config.instance.rglob("*") if f.is_file()]
        assert files
        assert not [f for f in files if token.encode() in f.read_bytes()]

    @pytest.mark.parametrize("token", ["x", "check-your-inbox2", "a" * 5000, "%00", "..%2f", "é"])
    def test_an_invented_link_is_told_so(self, client, token):
        assert client.get(f"/register/{token}").status_code == 404


class TestWithoutAServer:
    """A fresh installation: nobody could be mailed, so the first owner must get in without."""

    @pytest.fixture
    def config(self, tmp_path):
        return make_config(tmp_path / "instance", env={"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""})

    def test_registering_logs_in_at_once_and_owes_no_mail(self, client):
        answer = register(client)
        assert answer.location == "/settings/email-preferences"
        assert client.get("/account").status_code == 200
        assert mails() == []

    def test_a_taken_mailbox_gets_a_sentence_that_says_little(self, client, ada):
        answer = register(client, mailbox=ADA.upper())
        page = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert "could not be completed; log in or reset your password" in page
        assert 'value="Dovetail"' in page
        assert FORM["password"] not in page
        assert count() == 1

    def test_looking_for_taken_mailboxes_is_throttled(self, app, ada):
        answers = [register(app.test_client(), mailbox=ADA).status_code for _ in range(21)]
        assert answers == [422] * 20 + [429]

    def test_a_refused_form_does_not_spend_the_budget(self, client):
        for _ in range(25):
            assert register(client, password="short").status_code == 422
        assert register(client).status_code == 303

    def test_the_cookie_is_fresh(self, client):
        with client.session_transaction() as cookie:
            cookie["planted"] = "x"
        register(client)
        with client.session_transaction() as cookie:
            assert "planted" not in cookie
