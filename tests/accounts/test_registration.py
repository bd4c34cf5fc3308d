"""Registration, with and without a mail server for the confirmation, and the validation of its values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from portal.accounts import registration
from portal.accounts.models import Account, Owner, PendingRegistration
from portal.accounts.passwords import PasswordRefused
from portal.accounts.registration import MailboxTaken, RegistrationRefused, create_owner
from portal.clock import utcnow
from portal.db import db
from tests.accounts.conftest import ADA, link_in, mask_page, path_in, portal_emails
from tests.conftest import PASSWORD, make_config

NEW = "cy@dovetail.example"
FORM = {"programme": "Dovetail", "name": "Cy Young", "mailbox": NEW, "password": "seven purple kettles"}


def count_rows(table=Owner):
    number = db.session.scalar(select(func.count()).select_from(table))
    db.session.commit()
    return number


def register(browser, **changes):
    return browser.submit("/register", {**FORM, **changes})


class TestWithMailServer:
    """The mailbox is confirmed first."""

    def test_nothing_exists_until_the_link_is_confirmed(self, client):
        assert register(client).location == "/register/check-your-inbox"
        assert count_rows() == count_rows(Account) == 0
        ((recipient, text),) = portal_emails("confirm-registration")
        assert recipient == NEW
        page = client.get(path_in(text)).get_data(as_text=True)
        assert "Dovetail" in page
        assert count_rows() == 0, "a mail scanner that opens links must not confirm"
        answer = client.submit(path_in(text), {})
        assert answer.location == "/"
        assert client.get("/account").status_code == 200
        assert count_rows() == 1
        assert count_rows(PendingRegistration) == 0

    def test_a_taken_mailbox_gets_the_same_answer_and_another_email(self, app, ada, counting):
        free, taken = app.test_client(), app.test_client()
        answers = [register(free), register(taken, mailbox=ADA)]
        assert [a.status_code for a in answers] == [303, 303]
        assert answers[0].location == answers[1].location
        assert (counting.verified, counting.hashed) == (0, 2)
        pages = [b.get(answers[0].location).get_data(as_text=True) for b in (free, taken)]
        assert mask_page(pages[0]) == mask_page(pages[1])
        ((recipient, text),) = portal_emails("already-registered")
        assert recipient == ADA
        assert path_in(text) == "/forgot-password"
        assert count_rows() == 1

    def test_the_email_contains_nothing_the_visitor_entered(self, client):
        register(client, programme="Cheap pills", name="Call 555 now")
        ((_, text),) = portal_emails()
        assert "pills" not in text
        assert "555" not in text

    def test_the_link_has_the_configured_base_url(self, client):
        client.get("/register", headers={"Host": "localhost"})
        page = client.get("/register", headers={"Host": "localhost"})
        assert page.status_code == 200
        register(client)
        assert link_in(portal_emails()[0][1]).startswith("http://127.0.0.1/register/")

    def test_a_link_works_once(self, app, client):
        register(client)
        path = path_in(portal_emails()[0][1])
        client.submit(path, {})
        again = app.test_client().get(path)
        assert again.status_code == 404
        assert "no longer works" in again.get_data(as_text=True)

    def test_a_link_expires_after_a_day(self, client):
        with time_machine.travel(utcnow(), tick=False) as clock:
            register(client)
            path = path_in(portal_emails()[0][1])
            clock.shift(timedelta(hours=23, minutes=59))
            assert client.get(path).status_code == 200
            clock.shift(timedelta(minutes=1))
            assert client.get(path).status_code == 404

    def test_another_browser_needs_the_password(self, app, client):
        """An attacker who registers someone else's mailbox must not share the account that person confirms."""
        register(client)
        path = path_in(portal_emails()[0][1])
        other = app.test_client()
        assert other.submit(path, {}).status_code == 422
        assert other.submit(path, {"password": "what could it be?"}).status_code == 422
        assert count_rows() == 0
        assert other.submit(path, {"password": FORM["password"]}).status_code == 303
        assert count_rows() == 1

    def test_guessing_that_password_is_rate_limited(self, app, client):
        register(client)
        path = path_in(portal_emails()[0][1])
        other = app.test_client()
        answers = [other.submit(path, {"password": f"guess number {n}"}).status_code for n in range(51)]
        assert set(answers[:50]) == {422}
        assert answers[50] == 429

    def test_of_two_registrations_for_a_mailbox_the_first_confirmation_wins(self, app):
        first, second = app.test_client(), app.test_client()
        register(first)
        register(second, programme="Other")
        paths = [path_in(text) for _, text in portal_emails()]
        assert second.submit(paths[1], {}).status_code == 303
        assert first.get(paths[0]).status_code == 404
        assert db.session.scalars(select(Account.name)).all() == ["Other"]

    def test_a_mailbox_gets_at_most_three_emails_a_day_and_the_page_stays_the_same(self, app):
        answers = [register(app.test_client(), mailbox=m).location for m in [NEW, NEW.upper(), NEW, NEW, NEW]]
        assert set(answers) == {"/register/check-your-inbox"}
        assert len(portal_emails()) == 3

    def test_the_twenty_first_registration_of_a_network_is_refused(self, app):
        for n in range(20):
            assert register(app.test_client(), mailbox=f"p{n}@dovetail.example").status_code == 303
        browser = app.test_client()
        answer = register(browser)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 429
        assert 'value="Dovetail"' in page
        assert FORM["password"] not in page

    def test_the_token_is_not_stored(self, app, config, client):
        register(client)
        token = path_in(portal_emails()[0][1]).rsplit("/", 1)[1]
        assert len(token) == 43
        db.session.remove()
        files = [f for f in config.instance.rglob("*") if f.is_file()]
        assert files
        assert not [f for f in files if token.encode() in f.read_bytes()]

    @pytest.mark.parametrize("token", ["x", "check-your-inbox2", "a" * 5000, "%00", "..%2f", "é"])
    def test_an_invented_link_is_not_found(self, client, token):
        assert client.get(f"/register/{token}").status_code == 404


class TestWithoutMailServer:
    """A fresh installation cannot send email, so an owner registers without confirmation."""

    @pytest.fixture
    def config(self, tmp_path):
        return make_config(tmp_path / "instance", env={"MAIL_SERVER": "", "MAIL_DEFAULT_SENDER": ""})

    def test_registering_logs_in_at_once_and_enqueues_no_email(self, client):
        answer = register(client)
        assert answer.location == "/"
        assert client.get("/account").status_code == 200
        assert portal_emails() == []

    def test_a_taken_mailbox_gets_a_vague_error(self, client, ada):
        answer = register(client, mailbox=ADA.upper())
        page = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert "could not be completed. If you already have an account, log in" in page
        assert 'value="Dovetail"' in page
        assert FORM["password"] not in page
        assert count_rows() == 1

    def test_probing_for_taken_mailboxes_is_rate_limited(self, app, ada):
        answers = [register(app.test_client(), mailbox=ADA).status_code for _ in range(21)]
        assert answers == [422] * 20 + [429]

    def test_an_invalid_form_does_not_count_against_the_rate_limit(self, client):
        for _ in range(25):
            assert register(client, password="short").status_code == 422
        assert register(client).status_code == 303

    def test_registering_clears_the_previous_session_cookie(self, client):
        with client.session_transaction() as cookie:
            cookie["planted"] = "x"
        register(client)
        with client.session_transaction() as cookie:
            assert "planted" not in cookie


# -- validation


@pytest.mark.parametrize("field", list(FORM))
@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_field_has_an_error(client, field, value):
    answer = register(client, **{field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)
    assert f'href="#{field}"' in answer.get_data(as_text=True)


@pytest.mark.parametrize("field", list(FORM))
def test_a_field_that_is_too_long_is_refused(client, field):
    value = "x" * 60_000 + ("@dovetail.example" if field == "mailbox" else "")
    answer = register(client, **{field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)


@pytest.mark.parametrize("field", ["programme", "name", "mailbox"])
@pytest.mark.parametrize("bad", ["\r\nBcc: eve@x.example", "\x00", "\x1b[31m", "\u2028", "\u202e", "\x85"])
def test_control_characters_are_refused(client, field, bad):
    value = FORM[field][:2] + bad + FORM[field][2:]
    answer = register(client, **{field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)
    assert count_rows(PendingRegistration) == 0


@pytest.mark.parametrize(
    "name", ["Đặng Thị Hà", "محمد", "山田 太郎", "Ольга", "O’Hara", "क्षत्रिय", "<b>Bo</b> & Co", "🌱"]
)
def test_names_of_every_script_are_accepted_and_shown_as_entered(app, name):
    create_owner(name, name, NEW, PASSWORD, now=utcnow())
    browser = app.test_client()
    browser.submit("/log-in", {"mailbox": NEW, "password": PASSWORD})
    page = browser.get("/account").get_data(as_text=True)
    assert "<b>Bo" not in page
    owner = db.session.scalars(select(Owner)).one()
    assert owner.name == owner.account.name == name
    assert owner.account.slug.isascii()


@pytest.mark.parametrize(
    "mailbox",
    [
        "ada",
        "ada@",
        "@x.example",
        "a b@x.example",
        "ada@x",
        "ada@127.0.0.1",
        "ada@[127.0.0.1]",
        "ada@x..example",
        "Ada <ada@x.example> and Eve",
        "ada@x.example,eve@x.example",
        "alice@x.example)bob@x.example",
        "ädä@x.example",
        '"a b"@x.example',
        "a" * 65 + "@x.example",
        "ada@x.example\nBcc: eve@x.example",
    ],
)
def test_an_invalid_mailbox_is_refused_by_the_page_and_by_create_owner(client, mailbox):
    assert register(client, mailbox=mailbox).status_code == 422
    with pytest.raises(RegistrationRefused):
        create_owner("Dovetail", "Cy", mailbox, PASSWORD, now=utcnow())
    assert count_rows() == 0


def test_all_spellings_of_an_internationalised_domain_are_one_mailbox(app):
    create_owner("Bücher", "Bo", "bo@bücher.example", PASSWORD, now=utcnow())
    with pytest.raises(MailboxTaken):
        create_owner("Bücher", "Bo", "BO@xn--bcher-kva.example", PASSWORD, now=utcnow())
    for spelling in ("bo@bücher.example", "bo@xn--bcher-kva.example", "Bo@BÜCHER.example"):
        answer = app.test_client().submit("/log-in", {"mailbox": spelling, "password": PASSWORD})
        assert answer.status_code == 303, spelling


def test_a_taken_mailbox_raises_mailbox_taken(ada):
    with pytest.raises(MailboxTaken):
        create_owner("Other", "Eve", "ADA@brightleaf.example", PASSWORD, now=utcnow())
    assert count_rows(Account) == 1


def test_a_weak_password_raises_password_refused(app):
    with pytest.raises(PasswordRefused):
        create_owner("Dovetail", "Cy", NEW, "password1234", now=utcnow())


@pytest.mark.parametrize(("programme", "name"), [("", "Cy"), ("Dovetail", " "), ("x" * 101, "Cy")])
def test_an_invalid_name_raises_registration_refused(app, programme, name):
    with pytest.raises(RegistrationRefused):
        create_owner(programme, name, NEW, PASSWORD, now=utcnow())


def test_of_concurrent_registrations_of_a_mailbox_one_succeeds(app):
    def register_owner(n):
        with app.app_context():
            try:
                create_owner("Dovetail", f"Cy {n}", NEW, PASSWORD, now=utcnow())
            except MailboxTaken:
                return 0
            return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(register_owner, range(8))) == 1
    assert count_rows() == count_rows(Account) == 1


def test_a_confirmation_is_needed_if_the_portal_has_a_mail_server(app):
    assert registration.needs_confirmation()
