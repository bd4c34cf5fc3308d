"""The public pages of a German programme are German, and of a Hebrew one English, as Signet's own sentences are."""

from __future__ import annotations

import re

from sqlalchemy import update

from portal.accounts.models import Account
from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.db import db
from tests.enrolment.support import messages, newest_affiliate, path_in, sign_up


def speak(language):
    db.session.execute(update(Account).where(Account.slug == "brightleaf").values(language=language))
    db.session.commit()


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
