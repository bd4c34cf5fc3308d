"""Names of programmes and owners: they hold no link, no look-alike of an address and no invisible characters."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts.models import Account, Owner
from portal.accounts.names import why_refused
from portal.accounts.registration import RegistrationRefused, create_owner
from portal.clock import utcnow
from portal.db import db
from tests.accounts.conftest import portal_emails
from tests.conftest import PASSWORD

REFUSED = [
    "PayPal: account locked, see https://evil.example/login",
    "evil.example",
    "Evil.Example/login",
    "www evil example",
    "http evil",
    "hxxps evil",
    "ｈｔｔｐ evil",
    "evil．example",
    "evil。example",
    "evil․example",
    "evil·com",
    "Evil\u0387Shop",
    "evil[.]example",
    "evil(dot)example",
    "evil [dot] example",
    "pay@evil",
    "pay＠evil",
    "//evil",
    "evil・example",
    "evil:⁄⁄x",
    "10.0.0.12",
    "1.2.3.4",
    "еvil.ехаmple",
    "ev\u200cil.exa\u200dmple",
    "a\u202eb",
    "a\u2066b",
    "a\x00b",
    "a\nb",
    "a\u2028b",
    "a\ufeffb",
    "",
    "x" * 101,
    "\u200d",
    "\u0301",
]
ACCEPTED = [
    "Brightleaf",
    "Brightleaf GmbH & Co. KG",
    "St. Gallen Tours",
    "Café Ünter/Über",
    "Col·lecció",
    "Artisan·es du livre",
    "Créateur·ices",
    "O’Hara",
    "U.S. Traders",
    "J. R. R. Tolkien",
    "Đặng Thị Hà",
    "محمد",
    "山田・太郎",
    "क्षत्रिय",
    "🌱",
    "👩‍🌾 Farm",
    "24/7",
    "Version 2.0",
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_could_become_a_link_or_hides_something_is_refused(name):
    assert why_refused(name)


@pytest.mark.parametrize("name", ACCEPTED)
def test_other_names_are_accepted(name):
    assert why_refused(name) == ""


@pytest.mark.parametrize("field", ["programme", "name"])
def test_registration_shows_the_error_beside_the_field(client, field):
    form = {"programme": "Dovetail", "name": "Cy", "mailbox": "cy@dovetail.example", "password": PASSWORD}
    answer = client.submit("/register", {**form, field: "PayPal, see evil.example"})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)
    assert portal_emails() == []


@pytest.mark.parametrize("field", ["programme", "name"])
def test_a_new_name_on_the_account_page_is_checked(owner, field):
    names = {"programme": "Brightleaf", "name": "Ada", field: "see evil.example"}
    answer = owner.submit("/account/names", names, page="/account")
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)


def test_a_command_refuses_such_a_name(app):
    with pytest.raises(RegistrationRefused):
        create_owner("evil.example", "Cy", "cy@dovetail.example", PASSWORD, now=utcnow())


def test_an_existing_name_stays(owner):
    account, ada = db.session.scalars(select(Account)).one(), db.session.scalars(select(Owner)).one()
    account.name, ada.name = "brightleaf.example", "Ada @ brightleaf.example"
    db.session.commit()
    names = {"programme": "brightleaf.example", "name": "Ada @ brightleaf.example"}
    assert owner.submit("/account/names", names, page="/account").status_code == 303
    changed = {**names, "name": "eve.example"}
    assert owner.submit("/account/names", changed, page="/account").status_code == 422
