"""Visible strings can be translated, and the template of translations is up to date."""

from __future__ import annotations

import subprocess
import sys

from portal import create_app
from portal.about import ROOT
from portal.web import translations
from tests.conftest import make_config

_PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "Skip to the main content"\nmsgstr "Zum Inhalt"\n'


def _babel(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "babel.messages.frontend", "-q", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_template_holds_every_marked_string(tmp_path):
    fresh = tmp_path / "messages.pot"
    options = [
        "--no-location",
        "--sort-output",
        "--omit-header",
        "-k",
        "_",
        "-k",
        "lazy_gettext",
        "-k",
        "ngettext:1,2",
    ]
    _babel("extract", "-F", "babel.cfg", *options, "-o", str(fresh), ".")
    kept = (translations.FOLDER / "messages.pot").read_text(encoding="utf-8")
    assert kept == fresh.read_text(encoding="utf-8"), "run: make messages"
    assert 'msgid "Skip to the main content"' in kept


def test_a_catalogue_is_used(tmp_path, monkeypatch):
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "messages.po").write_text(_PO, encoding="utf-8")
    _babel("compile", "-d", str(tmp_path))
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    monkeypatch.setattr(translations, "DEFAULT_LOCALE", "de")
    app = create_app(make_config(tmp_path / "instance"))
    with app.test_request_context("/"):
        text = app.jinja_env.from_string('{{ _("Skip to the main content") }} {{ _("Error:") }}').render()
    assert text == "Zum Inhalt Error:"


def test_a_string_of_a_template_follows_the_language_and_escapes_values(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    template = app.jinja_env.from_string(
        '{{ _("Waiting emails") }}|{{ _("100 %% & more") }}|{{ _("Status: %(status)s", status="<b>") }}'
    )
    plain = app.jinja_env.overlay(autoescape=False).from_string('{{ _("100 %% & more") }}')
    for _ in range(2):
        for language, waiting, status in (
            ("en", "Waiting emails", "Status"),
            ("de", "Wartende E-Mails", "Stand"),
        ):
            with app.test_request_context("/"), translations.speaking(language):
                assert template.render() == f"{waiting}|100 % & more|{status}: &lt;b&gt;"
                assert plain.render() == "100 % & more"
    assert template.render() == "Waiting emails|100 % & more|Status: &lt;b&gt;"


def test_a_name_that_a_template_gives_itself_is_not_the_translation(tmp_path):
    app = create_app(make_config(tmp_path / "instance"))
    text = '{% macro _(text) %}<{{ text }}>{% endmacro %}{{ _("Waiting emails") }}{% set kept = _("a") %}{{ kept }}'
    with app.test_request_context("/"):
        assert app.jinja_env.from_string(text).render() == "<Waiting emails><a>"
