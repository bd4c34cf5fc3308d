"""Browsers that an owner logged in with before, remembered by a signed cookie.

The cookie opens nothing. It gives the browser log-in attempts of its own, so that another person's guesses cannot lock
the owner out of it. A stolen cookie gives a thief ten guesses in a quarter of an hour, and no more than that.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from flask import current_app
from itsdangerous import BadSignature, URLSafeTimedSerializer

LIFETIME = timedelta(days=365)  # since the last log-in
_MAX_OWNERS = 5  # of one browser, such as that of an agency; the last ones are kept


@dataclass(frozen=True)
class KnownBrowser:
    """A browser by its random id, and the ids of the owners who logged in with it."""

    id: str
    owner_ids: tuple[int, ...]


def read(cookie: str | None) -> KnownBrowser | None:
    """Return the browser of a cookie, or None if there is none, or it is forged or too old."""
    try:
        id_, owner_ids = _serializer().loads(cookie or "", max_age=int(LIFETIME.total_seconds()))
    except (BadSignature, ValueError, TypeError):
        return None
    return KnownBrowser(id_, tuple(owner_ids))


def cookie_with(owner_id: int, browser: KnownBrowser | None) -> str:
    """Return the cookie of a browser, known or new, with which this owner has logged in."""
    id_, known = (browser.id, browser.owner_ids) if browser else (secrets.token_urlsafe(16), ())
    owner_ids = [owner_id, *(one for one in known if one != owner_id)]
    return str(_serializer().dumps([id_, owner_ids[:_MAX_OWNERS]]))


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="known browser")
