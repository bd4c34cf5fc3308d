"""What a check stored in English is shown in the language of the page, with its values."""

from __future__ import annotations

import re

from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from portal.bounces.mailbox.forms import MailboxForm
from portal.deliveries.filters import Filters
from portal.incidents.forms import WebhookForm
from portal.settings import validation
from portal.settings.models import SmtpSettings
from portal.settings.routing import NO_PLATFORM_SENDER, PASSWORD_UNREADABLE
from portal.web.stored_sentences import fill, templates
from portal.web.translations import speaking_to, translated
from tests.english import is_english


def test_each_stored_sentence_is_found_again_by_its_words_and_keeps_its_values(app):
    found = sorted({text for _path, _line, text in templates()})
    assert len(found) > 250
    with speaking_to("de"):
        for template in found:
            values = {name: f"{name}x.example" for name in re.findall(r"\{(\w+)\}", template)}
            stored, shown = fill(template, values), fill(gettext(template), values)
            assert translated(stored) == shown, template
            assert not is_english(shown), template


def test_a_sentence_within_a_sentence_is_translated_and_another_text_stays(app):
    stored = "a.example has no SPF record, so receivers cannot see that Mailgun may send for it."
    assert translated(stored) == stored
    with speaking_to("de"):
        assert (
            translated(stored)
            == "a.example hat keinen SPF-Eintrag, also gibt nichts an, dass Mailgun dafür senden darf."
        )
        assert translated("Receivers cannot use the SPF record. It needs more than 10 DNS look-ups.") == (
            "Empfänger können den SPF-Eintrag nicht verwenden. Er braucht mehr als 10 Abfragen."
        )
        assert translated(f"SPF: {stored}") == f"SPF: {translated(stored)}"
        assert translated("Receiving") == "Empfang"
        assert translated("550 no such user") == "550 no such user"
        assert translated("") == ""


def test_what_an_alert_states_and_a_refused_host_are_in_the_language_of_the_reader(app):
    gap = "No worker ran from 3 Nov 2026, 09:12 UTC to 3 Nov 2026, 10:12 UTC, so no email left in that time."
    with speaking_to("de"):
        assert translated(gap) == (
            "Von 3 Nov 2026, 09:12 UTC bis 3 Nov 2026, 10:12 UTC lief kein Worker, deshalb ging in dieser Zeit "
            "keine E-Mail hinaus."
        )
        for stored in (
            *(
                str(fix)
                for one in (NO_PLATFORM_SENDER, PASSWORD_UNREADABLE)
                for fix in (one["cause"], *one["fixes"])
            ),
            *Filters.read({"code": "x", "version": "x"}).misread({"code": "x", "version": "x"}).values(),
        ):
            assert not is_english(translated(stored)), stored
        form = MailboxForm(MultiDict({"host": "imap example"}))
        assert not form.validate()
        assert "Ein Hostname enthält keine Leerzeichen." in form.host.errors


def test_why_an_address_of_a_webhook_is_refused_is_in_the_language_of_the_reader(app):
    with speaking_to("de"):
        for url in (
            "http://x.example",
            "https://a:b@x.example",
            "https://x.example/#a",
            "https://x.example:22/",
        ):
            form = WebhookForm(MultiDict({"url": url}))
            assert not form.validate()
            assert not is_english(str(form.url.errors[0])), url


def test_the_end_of_passwords_at_a_provider_is_in_the_language_of_the_reader(app):
    version = SmtpSettings(host="smtp.office365.com", username="a@x.example", domain="x.example")
    found = [one for one in validation.warnings(version, "") if one["code"].startswith("password-login")]
    assert found
    with speaking_to("de"):
        assert [one for one in found if is_english(validation.sentence_of(version, one))] == []
