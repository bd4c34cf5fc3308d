"""Translations of visible strings: ``_()`` and ``ngettext()`` in code and templates (Flask-Babel, gettext catalogues).

``make messages`` writes ``portal/translations/messages.pot``; a language is a folder beside it
(``de/LC_MESSAGES/messages.po``). Without a catalogue the English text of the source is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from babel import Locale
from flask_babel import Babel

if TYPE_CHECKING:
    from flask import Flask

FOLDER = Path(__file__).parent.parent / "translations"
DEFAULT_LOCALE = Locale("en")  # parsed once: Flask-Babel would look its file up for each request


def install(app: Flask) -> None:
    """Make ``_()`` and ``ngettext()`` available to code and templates."""
    app.config.setdefault("BABEL_TRANSLATION_DIRECTORIES", str(FOLDER))
    Babel(
        app,
        default_locale=str(DEFAULT_LOCALE),
        default_timezone="UTC",
        locale_selector=lambda: DEFAULT_LOCALE,
    )
