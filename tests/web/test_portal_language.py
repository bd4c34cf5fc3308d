"""The portal's own pages are in the language that a person chose, or that the browser of a stranger asks for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask_babel import ngettext
from sqlalchemy import select, update

from portal.accounts import invitations
from portal.accounts.models import Account, Owner
from portal.clock import utcnow
from portal.db import db
from portal.deliveries.action_labels import filter_chips
from portal.deliveries.filters import Filters
from portal.languages import ENGLISH, portal_language
from portal.web.diagnosis_words import cause_and_fixes
from portal.web.filters import format_bucket
from portal.web.pagination import Count
from portal.web.translations import speaking
from tests.conftest import PASSWORD
from tests.english import is_english

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


def test_what_a_form_is_made_of_is_in_the_language_of_the_page(owner):
    owner.submit("/account/language", {"language": "de"}, page="/account")
    assert "TLS und Zertifikat (STARTTLS)" in page(owner, "/settings/explain")
    settings = page(owner, "/settings/email-preferences")
    assert "Der Anbieter erzeugt ihn" in settings
    assert "The provider generates it" not in settings
    guide = page(owner, "/settings/set-up/mailgun")
    assert "Nicht das richtige Passwort: der API-Schlüssel, das Passwort der Website von Mailgun." in guide
    owner.submit("/account/language", {"language": "en"}, page="/account")
    assert "TLS and certificate (STARTTLS)" in page(owner, "/settings/explain")


def test_a_fix_beside_one_that_is_a_value_alone_is_translated(app):
    code = "credentials-app-password-probably"  # its first fix is the provider's steps, which can be any sentence
    fix = "Check that ada@brightleaf.example is the full address of the same account."
    with app.test_request_context(), speaking("de"):
        cause, fixes = cause_and_fixes({"code": code, "cause": fix, "fixes": ["Open it.", fix]})
    assert fixes[0] == "Open it."
    assert fixes[1] == cause
    assert fixes[1].startswith("Prüfe, ob ada@brightleaf.example")


def test_a_diagnosis_of_an_earlier_wording_is_shown_by_its_code(app):
    stored = {
        "code": "server-trouble",
        "cause": "Something is wrong inside smtp.example.com.",
        "fixes": ["Nothing: the portal tries again."],
    }
    with app.test_request_context(), speaking("de"):
        cause, fixes = cause_and_fixes(stored)
        assert cause == "Smtp.example.com hat ein internes Problem."
        assert not is_english(fixes[0])
        unknown = stored | {"code": "of-an-earlier-release"}
        assert cause_and_fixes(unknown) == (stored["cause"], stored["fixes"])
    with app.test_request_context(), speaking("en"):
        assert cause_and_fixes(stored) == (stored["cause"], stored["fixes"])


def test_a_file_has_the_same_words_in_every_language(owner, client):
    owner.submit("/account/language", {"language": "de"}, page="/account")
    db.session.execute(update(Account).values(shop_url="https://shop.brightleaf.example/"))
    db.session.commit()
    fields = {"name": "Mae", "mailbox": "mae@visitors.example", "consent": "y"}
    assert client.submit("/join/brightleaf", fields).status_code == 303
    shown = page(owner, "/affiliates")
    assert "von Mae" in shown
    assert "of Mae" not in shown
    sheet = owner.submit("/affiliates.csv", {}, page="/affiliates").get_data(as_text=True)
    assert "On your sign-up page" in sheet


def test_days_of_filters_and_charts_are_written_in_the_language_of_the_page(app):
    filters = Filters.read({"since": "2026-03-02"})
    hour = datetime(2026, 3, 2, 9, tzinfo=UTC)
    for language, day, bucket in (
        ("en", "From 2 Mar 2026", "2 Mar, 09:00"),
        ("de", "Ab 02.03.2026", "2. März, 09:00"),
    ):
        with app.test_request_context(), speaking(language):
            assert filter_chips(filters)[0][1] == day
            assert format_bucket(hour, with_clock=True) == bucket
            assert format_bucket(hour, with_clock=False) == bucket.partition(",")[0]


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
    missing = page(client, "/nothing/here", **{"Accept-Language": "fr"})
    assert '<html lang="fr">' in missing
    assert "Page introuvable" in missing
    assert "application/problem+json" in client.get("/api/v1/nothing", headers=GERMAN).headers["Content-Type"]


def test_who_registers_in_german_goes_on_in_german(app, client):
    link = invitations.invite(
        "ada@tee.example", link=lambda token: f"/register/invited/{token}", now=utcnow()
    )
    fields = {"programme": "Teehaus", "name": "Ada", "password": PASSWORD}
    assert client.submit(link, fields, headers=GERMAN).status_code == 303
    assert '<html lang="de">' in page(client, "/account")


def test_numbers_in_sentences_and_counts_are_grouped_as_the_language_does(app):
    template = app.jinja_env.from_string("{{ ngettext('%(num)s email', '%(num)s emails', number) }}")
    for locale, grouped in (("en", "1,001"), ("de", "1.001")):
        with app.test_request_context(), speaking(locale):
            assert ngettext("%(num)s email", "%(num)s emails", 1001).startswith(f"{grouped} ")
            assert template.render(number=1001).startswith(f"{grouped} ")
            assert str(Count(1001, more=True)) == f"{grouped}+"
