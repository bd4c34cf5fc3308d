"""The public pages of a German programme are German, and of a Hebrew one English, as Signet's own sentences are."""

from __future__ import annotations

import re

from sqlalchemy import update

from portal.accounts.models import Account
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.outbox.routing import Route
from portal.outbox.sending.message import AccountMessage
from portal.smtp.server import Security, Server
from tests.enrolment.support import messages, newest_affiliate, path_in, sign_up


def speak(language):
    db.session.execute(update(Account).where(Account.slug == "brightleaf").values(language=language))
    db.session.commit()


def _headers_of(row):
    server = Server("smtp.provider.example", 587, Security.STARTTLS)
    route = Route(server, "info@brightleaf.example", "Brightleaf")
    return AccountMessage(row, route, now=utcnow()).headers


def words(response):
    return " ".join(re.sub(r"<[^>]+>", " ", response.get_data(as_text=True)).split())


def test_the_pages_of_a_german_programme_are_german(owner, client):
    speak("de")
    page = client.get("/join/brightleaf")
    assert '<html lang="de">' in page.get_data(as_text=True)
    assert "Partner werden" in words(page)
    sign_up(client)
    thanks = words(client.get("/join/brightleaf/thanks"))
    assert "Danke für deine Anmeldung" in thanks
    [mail] = messages("confirm-sign-up")
    assert mail.subject == "Bestätige deine Anmeldung bei Brightleaf"
    path = path_in("confirm-sign-up", "confirm-sign-up")
    assert "Ja, Anmeldung bestätigen" in words(client.get(path))
    client.submit(path, {})
    assert "Willkommen, du bist angemeldet" in words(client.get(path))
    assert messages("new-sign-up")[0].subject.startswith("Willkommen bei Brightleaf")
    keys = page_keys.open_keys(db.session.get_one(Affiliate, newest_affiliate().id))
    dashboard = words(client.get(f"/affiliate/{keys.dashboard}"))
    assert "Hallo, " in dashboard
    assert "Noch keine Käufe" in dashboard
    preferences = f"/preferences/{keys.preferences}"
    assert "Neuer Kauf Wenn jemand über deinen Link kauft." in words(client.get(preferences))
    client.submit(preferences, {"kind": ["new-lead"], "pace": "daily"})
    assert "Deine Auswahl ist gespeichert." in words(client.get(preferences))
    assert "Abbestellen?" in words(client.get(f"/unsubscribe/{keys.preferences}/weekly-summary"))
    assert '<html lang="en">' in owner.get("/affiliates").get_data(as_text=True)


def test_the_pages_of_french_and_spanish_programmes_speak_them(owner, client):
    for code, mailbox, expected in (
        (
            "fr",
            "a@example.org",
            (
                "Devenir partenaire",
                "Merci de votre inscription",
                "Oui, confirmer",
                "Bonjour, ",
                "Votre tableau de bord",
            ),
        ),
        (
            "es",
            "b@example.org",
            ("Hazte afiliado", "Gracias por registrarte", "Sí, confirmar", "Hola, ", "Tu panel"),
        ),
    ):
        speak(code)
        page = client.get("/join/brightleaf")
        assert f'<html lang="{code}">' in page.get_data(as_text=True)
        sign_up(client, mailbox=mailbox)
        assert _headers_of(messages("confirm-sign-up")[-1])["Content-Language"] == code
        path = path_in("confirm-sign-up", "confirm-sign-up")
        pages = [page, client.get("/join/brightleaf/thanks"), client.get(path)]
        client.submit(path, {})
        keys = page_keys.open_keys(db.session.get_one(Affiliate, newest_affiliate().id))
        pages.append(client.get(f"/affiliate/{keys.dashboard}"))
        shown = " ".join(words(one) for one in pages)
        assert [one for one in expected if one not in shown] == []
        assert not re.search(r"\b(the|your|you|with|email|and)\b", shown)
        refused = client.submit("/join/brightleaf", {"language": code, "mailbox": "x"})
        assert "Enter" not in words(refused)


def test_a_refused_form_answers_in_its_language_and_consent_is_stored_in_it(owner, client):
    speak("de")
    fields = {"language": "de", "name": "", "mailbox": "x"}
    refused = client.submit("/join/brightleaf", fields, page="/join/brightleaf")
    assert refused.status_code == 422
    assert "Gib deinen Namen ein." in words(refused)
    assert "Setze das Häkchen" in words(refused)
    sign_up(client, language="de")
    assert "Ich stimme zu" in newest_affiliate().consent_words


def test_the_pages_of_a_programme_with_own_texts_only_are_marked_as_english(owner, client):
    speak("he")
    page = client.get("/join/brightleaf").get_data(as_text=True)
    assert '<html lang="en">' in page
    assert "Become an affiliate" in page
    assert "xx" not in client.submit("/join/brightleaf", {"language": "xx"}).get_data(as_text=True)[:200]
