"""The language of an affiliate's pages: what the person chose there, else that of the programme.

A choice is kept in a cookie of the browser. Where a private link identifies the affiliate, it is stored for the affiliate as
well, and emails to the affiliate follow it. A choice is one of the languages that are complete (portal/languages.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask import request

from ..languages import LANGUAGES
from ..state import current_config
from ..web.translations import offer_language, show_in
from . import preferences

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Blueprint, Flask, Response

    from ..accounts.models import Account
    from .models import Affiliate

FIELD = "choose_language"  # of the buttons; the rest of their form is kept and not validated
_CHOICES = {code: language for code, language in LANGUAGES.items() if language.is_complete}
_KEPT_FOR = timedelta(days=365)


def install(app: Flask) -> None:
    """Give templates the languages to choose from."""
    app.jinja_env.globals["affiliate_languages"] = tuple(_CHOICES.values())


def remember_choices(blueprint: Blueprint) -> None:
    """Keep the choices made on the pages of a blueprint in the browser."""
    blueprint.after_request(_remember)


def is_choosing() -> bool:
    """Return whether this request changes the language of its page, and does nothing else."""
    return bool(_choice())


def of_browser() -> str:
    """Return the code of the language chosen by this request or an earlier one of this browser, empty if none was."""
    code = _choice() or request.cookies.get(_cookie(), "")
    return code if code in _CHOICES else ""


def show_page(account: Account, affiliate: Affiliate | None = None) -> None:
    """Show the rest of this request's page in the language of its reader, with the times of the programme's zone."""
    stored = affiliate.language if affiliate is not None else ""
    show_in(_choice() or stored or of_browser() or account.language, account.time_zone)


def offer() -> None:
    """Show the rest of this request's page, which belongs to no programme, as chosen, else in the browser's own language."""
    offer_language(chosen=of_browser())


def store_choice(affiliate: Affiliate, *, now: datetime) -> None:
    """Store the choice that this request makes, if it makes one. Commits. Raises preferences.TooManyChanges."""
    code = _choice()
    if code:
        preferences.store_language(affiliate, code, now=now)


def _choice() -> str:
    code = request.form.get(FIELD, "") if request.method == "POST" else ""
    return code if code in _CHOICES else ""


def _remember(response: Response) -> Response:
    if is_choosing():
        response.set_cookie(
            _cookie(),
            _choice(),
            max_age=_KEPT_FOR,
            secure=current_config().secure,
            httponly=True,
            samesite="Lax",
        )
    return response


def _cookie() -> str:
    return "__Host-signet-language" if current_config().secure else "signet-language"
