"""The portal's own emails are in the language of the person who gets them."""

from __future__ import annotations

import inspect

import pytest
from sqlalchemy import update

from portal.accounts import emails
from portal.accounts.factors import emails as factor_emails
from portal.accounts.models import Owner
from portal.accounts.team.rights import Role
from portal.api.models import TokenScope
from portal.clock import utcnow
from portal.db import db
from portal.outbox.queue import NewMessage
from portal.web.translations import speaking_to
from tests.accounts.conftest import ADA, portal_emails
from tests.conftest import PASSWORD
from tests.english import is_english

VALUES = {
    "mailbox": ADA,
    "token_hash": "t",
    "key": "k",
    "link": "https://s.example/x",
    "programme": "Teehaus",
}
MAKERS = [
    one
    for name, one in inspect.getmembers(emails, inspect.isfunction)
    if not name.startswith("_") and one.__annotations__["return"] == NewMessage.__name__
]


def made(language):
    """Yield each email to a person of this language."""
    own = {"scope": list(TokenScope), "role": list(Role), "where": ["Firefox"], "programme": ["Teehaus", ""]}
    with speaking_to(language):
        for make in MAKERS:
            names = [name for name in inspect.signature(make).parameters if name in own] or ["link"]
            for name in names:
                for value in own.get(name, [VALUES["link"]]):
                    values = VALUES | {"scope": "events", "role": "editor", "where": "Firefox", name: value}
                    yield make(**{key: values[key] for key in inspect.signature(make).parameters})


def test_each_email_of_an_account_is_german_for_a_german_person(app):
    assert len(MAKERS) > 14
    english, german = list(made("en")), list(made("de"))
    assert [one.kind for one in english] == [one.kind for one in german]
    for mail, own in zip(english, german, strict=True):
        assert is_english(mail.text)
        assert own.subject != mail.subject
        assert own.text.startswith("Hallo,\n\n")
        assert [line for line in (own.subject, *own.text.splitlines()) if is_english(line)] == [], own.kind


def test_each_email_about_a_second_factor_is_german_for_a_german_person(app, ada):
    db.session.execute(update(Owner).values(language="de"))
    now = utcnow()
    for send in (
        factor_emails.app_added,
        factor_emails.app_removed,
        factor_emails.codes_made,
        factor_emails.wrong_codes,
    ):
        send(ada, now=now)
    for send in (factor_emails.passkey_added, factor_emails.passkey_removed):
        send(ada, "Schlüssel", now=now)
    for left in (0, 1, 9):
        factor_emails.code_used(ada, left, now=now)
    for who in (None, ("Bo", "Teehaus")):
        factor_emails.reset_by(ada, who, now=now)
    db.session.commit()
    texts = [text for _to, text in portal_emails("second-factor")]
    assert len(texts) == 11
    assert [line for text in texts for line in text.splitlines() if is_english(line)] == []
    assert sum("1 Code ist übrig." in text for text in texts) == 1


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_password_reset_is_in_the_persons_language_whatever_the_browsers(ada, client, language):
    db.session.execute(update(Owner).values(language=language))
    db.session.commit()
    browsers = {"Accept-Language": "de" if language == "en" else "en"}
    client.submit("/forgot-password", {"mailbox": ADA}, headers=browsers)
    ((_to, text),) = portal_emails("password-reset")
    assert ("neues Passwort" in text) is (language == "de")


def test_a_stranger_registers_in_the_language_of_the_browser(client):
    fields = {"programme": "Teehaus", "name": "Ada", "mailbox": ADA, "password": PASSWORD}
    client.submit("/register", fields, headers={"Accept-Language": "de"})
    ((_to, text),) = portal_emails("confirm-registration")
    assert "Der Link gilt 24 Stunden." in text
