"""What a check stored in English is shown in the language of the page, with its values."""

from __future__ import annotations

import re

from flask_babel import gettext

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
    stored = "a.example has no SPF record, so nothing says that Mailgun may send for it."
    assert translated(stored) == stored
    with speaking_to("de"):
        assert (
            translated(stored)
            == "a.example hat keinen SPF-Eintrag, also gibt nichts an, dass Mailgun dafür senden darf."
        )
        assert translated("Receivers cannot use the SPF record. It takes more than 10 look-ups.") == (
            "Empfänger können den SPF-Eintrag nicht verwenden. Er braucht mehr als 10 Abfragen."
        )
        assert translated("550 no such user") == "550 no such user"
        assert translated("") == ""
