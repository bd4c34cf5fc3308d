"""Affiliates choose the language of their pages; the browser keeps it, and emails follow where the person is known."""

from __future__ import annotations

import json
import re

import pytest

from portal.affiliates import page_keys
from portal.affiliates.models import Affiliate
from portal.clock import utcnow
from portal.db import db
from portal.events import dispatch
from portal.events.types import EventType, Source
from portal.notices import texts
from portal.notices.models import TextVersion
from tests.enrolment.support import account_of, messages, newest_affiliate, path_in, sign_up
from tests.enrolment.test_languages import speak, words

FRENCH = {"choose_language": "fr"}


def language_of(response):
    return re.search(r'<html lang="(\w+)"', response.get_data(as_text=True)).group(1)


def keys():
    return page_keys.open_keys(db.session.get_one(Affiliate, newest_affiliate().id))


def purchase(key):
    """Report a purchase of the newest affiliate; return its email."""
    affiliate = db.session.get_one(Affiliate, newest_affiliate().id)
    values = {"amount": "10", "commission": "1", "currency": "EUR", "order": key}
    new = dispatch.NewEvent(account_of(), EventType.PURCHASE, affiliate, values)
    dispatch.record_event(new, key=key, source=Source.API, now=utcnow())
    db.session.commit()
    return messages("new-purchase")[-1]


@pytest.fixture
def joined(owner, client):
    sign_up(client)
    client.submit(path_in("confirm-sign-up", "confirm-sign-up"), {})
    return client


def test_the_sign_up_form_keeps_what_was_typed_and_its_emails_follow_the_choice(owner, client):
    typed = {"name": "Ada Grün", "mailbox": "ada@", "consent": "y"}
    page = client.submit("/join/brightleaf", typed | FRENCH)
    assert (page.status_code, language_of(page)) == (200, "fr")
    html = page.get_data(as_text=True)
    assert 'value="Ada Grün"' in html
    assert 'value="ada@"' in html
    assert re.search(r'<input[^>]*id="consent"[^>]*checked|<input[^>]*checked[^>]*id="consent"', html)
    assert "field-error" not in html
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert [language_of(client.get(path)) for path in ("/join/brightleaf", "/affiliate")] == ["fr", "fr"]
    sign_up(client, language="fr")
    assert messages("confirm-sign-up")[-1].subject.startswith("Confirmez")
    assert newest_affiliate().language == "fr"


@pytest.mark.parametrize("path", ["join/brightleaf/my-page", "affiliate", "join/brightleaf/send-again"])
def test_other_forms_keep_what_was_typed_as_well(owner, client, path):
    page = "/join/brightleaf/thanks" if path.endswith("again") else f"/{path}"
    chosen = client.submit(f"/{path}", {"mailbox": "ada@"} | FRENCH, page=page)
    assert (chosen.status_code, language_of(chosen)) == (200, "fr")
    assert 'value="ada@"' in chosen.get_data(as_text=True)
    refused = client.submit(f"/{path}", {"mailbox": "ada@", "language": "fr"}, page=page)
    assert (refused.status_code, language_of(refused)) == (422, "fr")


def test_a_choice_on_a_private_page_is_the_language_of_the_emails(joined, app):
    dashboard = f"/affiliate/{keys().dashboard}"
    assert joined.submit(f"{dashboard}/language", FRENCH, page=dashboard).status_code == 303
    assert language_of(joined.get(dashboard)) == "fr"
    assert language_of(app.test_client().get(dashboard)) == "fr"  # another browser
    assert '"language": "fr"' in json.dumps(json.loads(joined.get(f"{dashboard}/data.json").data))
    assert purchase("A-1").subject == "Vous avez gagné 1,00 EUR avec Brightleaf"
    joined.submit("/join/brightleaf/my-page", {"mailbox": "grace@example.org"})
    assert "page privée" in messages("dashboard-link")[-1].subject


def test_preferences_keep_their_ticks_and_unsubscribing_asks_again(joined):
    path = f"/preferences/{keys().preferences}"
    chosen = joined.submit(path, {"kind": ["new-lead"], "pace": "daily"} | FRENCH)
    html = chosen.get_data(as_text=True)
    assert (chosen.status_code, language_of(chosen)) == (200, "fr")
    assert re.search(r'id="kind-new-lead"[^>]*checked', html)
    assert not re.search(r'id="kind-new-purchase"[^>]*checked', html)
    assert re.search(r'id="pace-daily"[^>]*checked', html)
    assert newest_affiliate().email_pace.value == "at-once"  # nothing else is saved
    unsubscribe = f"/unsubscribe/{keys().preferences}/weekly-summary"
    back = joined.submit(
        f"{path}/language", {"choose_language": "es", "kind": "weekly-summary"}, page=unsubscribe
    )
    assert back.location == unsubscribe
    page = joined.get(unsubscribe)
    assert language_of(page) == "es"
    assert newest_affiliate().language == "es"
    done = joined.submit(unsubscribe, {})
    assert 'name="kind"' not in done.get_data(as_text=True).split("language-choice")[1]


def test_an_own_text_of_the_programme_stays_in_its_language(joined, owner):
    speak("de")
    account = account_of()
    text = texts.Text("Verkauft, {{ first_name }}", "<p>{{ amount }} verdient</p>")
    row = TextVersion(
        account_id=account.id, kind="new-purchase", number=1, shipped=False, subject=text.subject
    )
    row.html, row.text, row.owner_id, row.owner_name, row.created_at = text.html, "", 1, "Ada", utcnow()
    db.session.add(row)
    db.session.commit()
    dashboard = f"/affiliate/{keys().dashboard}"
    joined.submit(f"{dashboard}/language", FRENCH, page=dashboard)
    assert purchase("B-1").subject == "Verkauft, Grace"


@pytest.mark.parametrize("code", ["he", "xx", "fr\0", "", "fr; Path=/x"])
def test_a_language_that_pages_do_not_have_is_no_choice(joined, code):
    dashboard = f"/affiliate/{keys().dashboard}"
    answer = joined.submit(f"{dashboard}/language", {"choose_language": code}, page=dashboard)
    assert "signet-language" not in answer.headers.get("Set-Cookie", "")
    joined.set_cookie("signet-language", "xx", domain="127.0.0.1")
    assert language_of(joined.get(dashboard)) == "en"
    assert newest_affiliate().language == ""


def test_every_public_page_offers_each_language_that_it_is_not_in(joined):
    known = keys()
    for path in (
        "/join/brightleaf",
        "/join/brightleaf/thanks",
        "/join/brightleaf/my-page",
        "/affiliate",
        f"/affiliate/{known.dashboard}",
        f"/preferences/{known.preferences}",
        f"/unsubscribe/{known.preferences}/weekly-summary",
        path_in("confirm-sign-up", "confirm-sign-up"),
    ):
        html = joined.get(path).get_data(as_text=True)
        offered = re.findall(r'name="choose_language"\s+value="(\w+)"\s+lang="\1"\s+form="([\w-]+)"', html)
        assert [code for code, _form in offered] == ["de", "es", "fr"], path
        assert all(html.count(f'id="{form}"') == 1 for _code, form in offered), path
    assert words(joined.get("/join/brightleaf")).endswith("run with Signet.")
