"""Translations of visible strings: ``_()`` and ``ngettext()`` in code and templates (Flask-Babel, gettext catalogues).

``make messages`` writes ``portal/translations/messages.pot``; a language is a folder beside it
(``de/LC_MESSAGES/messages.po``). Without a catalogue the English text of the source is shown.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from babel import Locale
from flask import g
from flask_babel import Babel, force_locale, get_locale, refresh

from ..languages import language_of, shipped_language

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from ..languages import Language

FOLDER = Path(__file__).parent.parent / "translations"
DEFAULT_LOCALE = Locale("en")  # parsed once: Flask-Babel would look its file up for each request


def install(app: Flask) -> None:
    """Make ``_()`` and ``ngettext()`` available to code and templates."""
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(FOLDER))
    Babel(
        app,
        default_locale=str(DEFAULT_LOCALE),
        default_timezone="UTC",
        locale_selector=lambda: g.get("page_locale", DEFAULT_LOCALE),
    )
    app.jinja_env.globals["page_language"] = current_language


def show_in(language: str | None) -> None:
    """Show the rest of this request's page in a programme's language, in English where that is not complete."""
    g.page_locale = _locale(shipped_language(language).code)
    refresh()


@contextmanager
def speaking(language: str | None) -> Iterator[None]:
    """Translate within the block into a programme's language, or English where that is not complete."""
    with force_locale(_locale(shipped_language(language).code)):
        yield


def current_language() -> Language:
    """Return the language of the page, or of the enclosing ``speaking``; it writes amounts and dates."""
    return language_of(str(get_locale() or DEFAULT_LOCALE))


@cache
def _locale(code: str) -> Locale:
    return Locale.parse(code)
