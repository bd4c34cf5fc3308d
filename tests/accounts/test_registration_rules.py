"""Who may register, under which names, and that nobody gets what somebody else has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from portal.accounts import identifiers, registration
from portal.accounts.models import Account, Owner, PendingRegistration
from portal.accounts.passwords import PasswordRefused
from portal.accounts.registration import MailboxTaken, RegistrationRefused, create_owner
from portal.clock import utcnow
from portal.db import db
from tests.accounts.test_registration import FORM, NEW, count, register
from tests.conftest import PASSWORD


@pytest.mark.parametrize("field", list(FORM))
@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_field_is_named(client, field, value):
    answer = register(client, **{field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)
    assert f'href="#{field}"' in answer.get_data(as_text=True)


@pytest.mark.parametrize("field", list(FORM))
def test_too_much_in_a_field_is_refused(client, field):
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
    assert count(PendingRegistration) == 0


@pytest.mark.parametrize(
    "name", ["Đặng Thị Hà", "محمد", "山田 太郎", "Ольга", "O’Hara", "क्षत्रिय", "<b>Bo</b> & Co", "🌱"]
)
def test_names_of_every_script_are_welcome_and_shown_as_typed(app, name):
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
        "Ada <ada@x.example>",
        "ada@x.example,eve@x.example",
        "alice@x.example)bob@x.example",
        "ädä@x.example",
        '"a b"@x.example',
        "a" * 65 + "@x.example",
        "ada@x.example\nBcc: eve@x.example",
    ],
)
def test_a_doubtful_mailbox_is_refused_by_page_and_deed(client, mailbox):
    assert register(client, mailbox=mailbox).status_code == 422
    with pytest.raises(RegistrationRefused):
        create_owner("Dovetail", "Cy", mailbox, PASSWORD, now=utcnow())
    assert count() == 0


def test_a_mailbox_at_a_domain_of_another_script_is_one_mailbox(app):
    create_owner("Bücher", "Bo", "bo@bücher.example", PASSWORD, now=utcnow())
    with pytest.raises(MailboxTaken):
        create_owner("Bücher", "Bo", "BO@xn--bcher-kva.example", PASSWORD, now=utcnow())
    for spelling in ("bo@bücher.example", "bo@xn--bcher-kva.example", "Bo@BÜCHER.example"):
        answer = app.test_client().submit("/log-in", {"mailbox": spelling, "password": PASSWORD})
        assert answer.status_code == 303, spelling


def test_a_taken_mailbox_raises_a_typed_error(ada):
    with pytest.raises(MailboxTaken):
        create_owner("Other", "Eve", "ADA@brightleaf.example", PASSWORD, now=utcnow())
    assert count(Account) == 1


def test_a_weak_password_raises_a_typed_error(app):
    with pytest.raises(PasswordRefused):
        create_owner("Dovetail", "Cy", NEW, "password1234", now=utcnow())


@pytest.mark.parametrize(("programme", "name"), [("", "Cy"), ("Dovetail", " "), ("x" * 101, "Cy")])
def test_a_missing_name_raises_a_typed_error(app, programme, name):
    with pytest.raises(RegistrationRefused):
        create_owner(programme, name, NEW, PASSWORD, now=utcnow())


@pytest.mark.parametrize(
    ("programme", "slug"),
    [
        ("Brightleaf", "brightleaf"),
        ("  Ada & Söhne GmbH ", "ada-sohne-gmbh"),
        ("山田", "programme"),
        ("---", "programme"),
        ("x" * 100, "x" * 48),
        ("a_b%c", "a-b-c"),
        ("ﬁne", "fine"),
    ],
)
def test_the_short_name_is_plain_letters(programme, slug):
    assert identifiers.slug_of(programme) == slug


def test_short_names_differ_although_programmes_are_called_the_same(app):
    owners = [create_owner("Dove tail", "Cy", f"c{n}@x.example", PASSWORD, now=utcnow()) for n in range(4)]
    assert [o.account.slug for o in owners] == ["dove-tail", "dove-tail-2", "dove-tail-3", "dove-tail-4"]


def test_a_short_name_that_begins_like_another_is_free(app):
    create_owner("Dovetail Joints", "Cy", "c1@x.example", PASSWORD, now=utcnow())
    assert create_owner("Dovetail", "Cy", "c2@x.example", PASSWORD, now=utcnow()).account.slug == "dovetail"


def test_of_many_who_take_a_mailbox_at_once_one_gets_it(app):
    def take(n):
        with app.app_context():
            try:
                create_owner("Dovetail", f"Cy {n}", NEW, PASSWORD, now=utcnow())
            except MailboxTaken:
                return 0
            return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == 1
    assert count() == count(Account) == 1


def test_of_many_programmes_of_one_name_each_gets_a_short_name(app):
    def take(n):
        with app.app_context():
            return create_owner("Dovetail", "Cy", f"c{n}@x.example", PASSWORD, now=utcnow()).account.slug

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(take, range(8)))) == 8


def test_whether_to_confirm_follows_from_the_portals_own_server(app):
    assert registration.needs_confirmation()
