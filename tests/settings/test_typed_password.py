"""A typed password stays with the form until it is saved: sealed, never shown, and only for the login session."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
import time_machine

from portal.clock import utcnow
from portal.db import db
from portal.settings import credentials
from portal.settings.validation import SettingsInput
from portal.web.translations import speaking_to
from tests.conftest import prove_again
from tests.settings.conftest import PAGE, save, text_of, versions, work
from tests.smtp.badserver import PASSWORD

pytestmark = pytest.mark.usefixtures("app")


def carried(response) -> str:
    """Return the sealed password that a page holds; the password itself is not in the page."""
    page = text_of(response)
    assert PASSWORD not in unescape(page)
    found = re.search(r'<input[^>]*name="typed_password"[^>]*value="([^"]+)"', page)
    return unescape(found[1]) if found else ""


def answers_unsaved(owner, form):
    """Every answer that shows the typed values again without saving them."""
    yield save(owner, form, username="", domain="")
    yield save(owner, form, find_settings="1", address="ada@gmail.com")
    yield save(owner, form, find_settings="1", address="")
    yield save(owner, form, use_provider="1")
    yield save(owner, form, use_values="port=587&security=starttls")


def test_a_form_that_comes_back_keeps_the_typed_password(owner, form):
    for answer in answers_unsaved(owner, form):
        again = save(owner, form, username="", password="", typed_password=carried(answer))
        assert again.status_code == 422
        assert "Enter the SMTP password" not in text_of(again)
        assert carried(again)  # also over several answers
    assert save(owner, form, password="", typed_password=carried(again)).status_code == 303
    work()
    (version,) = versions()
    assert version.state == "live"
    assert credentials.open_password(version) == PASSWORD


def test_the_record_of_a_domain_is_looked_up_without_losing_a_typed_password(owner, live, form):
    answer = owner.submit(f"{PAGE}/versions/{live.number}/prove-domain", form, page=PAGE)
    assert carried(answer)


def test_a_password_that_is_typed_again_replaces_the_kept_one(owner, form):
    sealed = carried(save(owner, {**form, "password": "first"}, username=""))
    assert save(owner, form, typed_password=sealed).status_code == 303
    assert credentials.open_password(versions()[0]) == PASSWORD


def test_a_password_with_an_error_is_asked_for_again(owner, form):
    answer = save(owner, form, password=f"{PASSWORD}\n")
    assert answer.status_code == 422
    assert carried(answer) == ""


@pytest.mark.parametrize("length", [1, 500])
def test_the_length_of_a_password_does_not_show(owner, form, length):
    usual = carried(save(owner, form, username=""))
    assert len(carried(save(owner, form, username="", password="x" * length))) == len(usual)


def asks_for_the_password(response) -> bool:
    return response.status_code == 422 and "Enter the SMTP password." in text_of(response)


def test_a_kept_password_opens_in_its_own_session_only(owner, stranger, form):
    sealed = carried(save(owner, form, username=""))
    assert asks_for_the_password(save(stranger, form, password="", typed_password=sealed))
    for worthless in (sealed[:-8], "no base64", "AA==", "x" * 9000):
        assert asks_for_the_password(save(owner, form, password="", typed_password=worthless))


def test_a_kept_password_ends_after_an_hour(owner, form):
    sealed = carried(save(owner, form, username=""))
    with time_machine.travel(utcnow() + timedelta(minutes=61)):
        prove_again()
        assert asks_for_the_password(save(owner, form, password="", typed_password=sealed))


def test_a_submitted_form_is_not_replaced_while_a_check_runs(owner, form):
    save(owner, form)
    follows = text_of(owner.get(PAGE))
    assert 'http-equiv="refresh"' in follows
    assert re.search(r'id="part-host"\s+class="part" data-live-part>', follows)
    still = text_of(owner.get(f"{PAGE}?reload=off"))
    assert 'http-equiv="refresh"' not in still
    refused = text_of(save(owner, form, port="no number"))
    assert 'http-equiv="refresh"' not in refused
    assert re.search(r'id="part-host"\s+class="part">', refused)


def test_the_hint_below_the_password_follows_the_server_of_the_form(owner, live, form):
    def hint(**changes):
        fields = {**form, "password": "", "provider": "", **changes}
        page = text_of(owner.submit(f"{PAGE}/help", fields, page=PAGE))
        return re.search(r'data-hint-for="password-kept">(.*?)</p>', page, re.DOTALL)[1]

    assert "To keep it, leave this field empty." in hint()
    assert "You changed the SMTP Server, so enter the SMTP password again." in hint(host="smtp.gmail.com")


def test_what_was_changed_has_its_name_in_the_language_of_the_page(app, owner, live, form):
    saved = db.session.merge(live)
    values = SettingsInput(**{**form, "password": ""})
    with speaking_to("de"):
        for name, label in (("host", "SMTP-Server"), ("security", "SSL einschalten")):
            other = {"host": "smtp.gmail.com", "security": "starttls"}[name]
            assert f"„{label}“" in str(credentials.missing_password(replace(values, **{name: other}), saved))


def test_a_version_without_a_log_in_has_no_saved_password(owner, form):
    save(owner, form, mechanism="none", username="", password="")
    page = text_of(owner.get(PAGE))
    assert "For security we do not show it again" not in page
