"""Catalogues: what affiliates read on public pages and in emails is translated into every complete language."""

from __future__ import annotations

import re
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from portal.languages import LANGUAGES, PORTAL_LANGUAGES
from portal.smtp import mailbox
from portal.web.fields import MAILBOX_SENTENCES
from portal.web.translations import FOLDER

VALUE = re.compile(r"%\(\w+\)[sd]|%%|</?[a-z]+")  # and the tags in a sentence
ROOT = FOLDER.parents[1]
KEYWORDS = {"_": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
FOR_PORTAL = [code for code in PORTAL_LANGUAGES if code != "en"]
COMPLETE = [code for code, language in LANGUAGES.items() if language.is_complete and code != "en"]
# What affiliates and visitors get to see, by the templates and modules that say it.
TEMPLATES = """layouts/base layouts/public layouts/programme affiliates/join affiliates/thanks affiliates/confirm
    affiliates/_joined affiliates/closed affiliates/invitation affiliates/preferences affiliates/unsubscribe
    affiliates/dashboard affiliates/confirm_address affiliates/find_page privacy/erasure
    programme/leave programme/no_shop money/_balances money/_commission_cells components/copy components/time
    components/error_summary components/field components/form errors/error"""
MODULES = """enrolment/views enrolment/views_find web/errors web/filters events/types events/digests affiliates/names
    affiliates/address_questions money/weekly_totals"""
# Of modules that also speak to owners, what affiliates see.
PARTS = {
    "enrolment/forms": r"class JoinForm.*?(?=\ndef reject_invisible)|def _sentence_of.*?(?=\n\n\n)",
    "affiliates/preferences": r"_WHEN = .*?\n}",
    "money/listing": r"def state_label.*?(?=\n\n\n)",
    "events/presenter": r"def event_details.*?(?=\ndef _email_view)",
    "web/fields": r"MAILBOX_SENTENCES = .*?\n\)|def one_line.*?(?=\n\n\n)|def max_length.*?(?=\ndef text_field)",
}


@cache
def catalogue(language: str) -> Catalog:
    with (FOLDER / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=language)


def messages_of(path: Path) -> set:
    method = "jinja2" if path.suffix == ".html" else "python"
    return {found[1] for found in extract_from_file(method, path, keywords=KEYWORDS)}


@cache
def shown_to_affiliates() -> frozenset:
    found = set()
    for name in TEMPLATES.split():
        found |= messages_of(ROOT / "templates" / f"{name}.html")
    for name in MODULES.split():
        found |= messages_of(ROOT / "portal" / f"{name}.py")
    for name, pattern in PARTS.items():
        path = ROOT / "portal" / f"{name}.py"
        parts = re.findall(pattern, path.read_text(encoding="utf-8"), re.DOTALL)
        assert parts, name
        strings = " ".join("".join(re.findall(r'"([^"]*)"', part)) for part in parts)
        found |= {one for one in messages_of(path) if isinstance(one, str) and one in strings}
    return frozenset(found)


@pytest.mark.parametrize("language", COMPLETE)
def test_everything_that_affiliates_read_is_translated(language):
    assert len(shown_to_affiliates()) > 150
    untranslated = []
    for message in sorted(shown_to_affiliates(), key=str):
        entry = catalogue(language).get(message)
        strings = entry.string if entry is not None else ""
        if not strings or not all([strings] if isinstance(strings, str) else strings) or entry.fuzzy:
            untranslated.append(message)
    assert untranslated == [], "make messages, then translate"


@pytest.mark.parametrize("language", FOR_PORTAL)
def test_a_language_of_the_portal_has_a_translation_of_every_message(language):
    assert len(catalogue(language)) > 1500
    untranslated = [
        entry.id
        for entry in catalogue(language)
        if entry.id
        and (entry.fuzzy or not all([entry.string] if isinstance(entry.string, str) else entry.string))
    ]
    assert untranslated == [], "make messages, then translate"


def test_the_sentences_about_addresses_are_those_of_the_engine():
    source = Path(mailbox.__file__).read_text(encoding="utf-8")
    raised = set(re.findall(r"raise MailboxError\(\"([^\"]+)\"\)", source))
    assert {str(one) for one in MAILBOX_SENTENCES} == raised


@pytest.mark.parametrize("language", COMPLETE)
def test_a_translation_keeps_the_values_of_its_sentence(language):
    for entry in catalogue(language):
        sources, strings = [[one] if isinstance(one, str) else one for one in (entry.id, entry.string)]
        for source, string in zip(sources, strings, strict=True):
            if source and string:
                assert sorted(VALUE.findall(string)) == sorted(VALUE.findall(source)), source


@pytest.mark.parametrize("language", COMPLETE)
def test_the_compiled_catalogue_is_that_of_the_source(language):
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    kept = (FOLDER / language / "LC_MESSAGES" / "messages.mo").read_bytes()
    assert compiled.getvalue() == kept, "make messages"
