"""The portal's own pages are in the language that a person chose, or that the browser of a stranger asks for."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.accounts import invitations
from portal.accounts.models import Owner
from portal.clock import utcnow
from portal.db import db
from portal.languages import ENGLISH, portal_language
from tests.conftest import PASSWORD

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}


def page(client, path, **headers):
    return client.get(path, headers=headers).get_data(as_text=True)


@pytest.mark.parametrize(
    ("code", "expected"), [("de", "de"), ("fr", "en"), ("ar", "en"), ("", "en"), (None, "en"), ("xx", "en")]
)
def test_the_portal_speaks_its_own_languages_only(code, expected):
    assert portal_language(code).code == expected
    assert portal_language("xx") is ENGLISH


def test_a_person_chooses_the_language_of_the_portal(owner, client):
    assert '<html lang="en">' in page(owner, "/account", **GERMAN), (
        "a person's choice counts, not the browser"
    )
    saved = owner.submit("/account/language", {"language": "de"}, page="/account")
    assert saved.status_code == 303
    shown = page(owner, "/account")
    assert '<html lang="de">' in shown
    assert "Die Sprache ist gespeichert." in shown
    assert db.session.scalars(select(Owner.language)).all() == ["de"]
    assert '<html lang="de">' in page(owner, "/programme")
    settings = page(owner, "/programme")
    assert settings.count('name="language"') == 1, "a form of the portal hands no language on"
    assert "Sprache deines Programms" in settings
    assert '<html lang="en">' in page(owner, "/join/brightleaf"), (
        "a programme's page has the programme's language"
    )
    assert '<html lang="en">' in page(client, "/log-in")
    refused = owner.submit("/account/language", {"language": "fr"}, page="/account")
    assert refused.status_code == 422
    assert 'id="language-error"' in refused.get_data(as_text=True)
    assert db.session.scalars(select(Owner.language)).all() == ["de"]


def test_strangers_see_the_language_of_their_browser(client, owner):
    for path, expected in (
        ("/log-in", "de"),
        ("/forgot-password", "de"),
        ("/nothing/here", "de"),
        ("/affiliate", "de"),
        ("/join/brightleaf", "en"),
    ):
        assert f'<html lang="{expected}">' in page(client, path, **GERMAN), path
        assert '<html lang="en">' in page(client, path), path
    assert '<html lang="en">' in page(client, "/log-in", **{"Accept-Language": "fr"})
    assert '<html lang="fr">' in page(client, "/nothing/here", **{"Accept-Language": "fr"})
    assert "application/problem+json" in client.get("/api/v1/nothing", headers=GERMAN).headers["Content-Type"]


def test_who_registers_in_german_goes_on_in_german(app, client):
    link = invitations.invite(
        "ada@tee.example", link=lambda token: f"/register/invited/{token}", now=utcnow()
    )
    fields = {"programme": "Teehaus", "name": "Ada", "password": PASSWORD}
    assert client.submit(link, fields, headers=GERMAN).status_code == 303
    assert '<html lang="de">' in page(client, "/account")
