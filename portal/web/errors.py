"""Error pages and handlers: a plain explanation, the correct status, and never the text of an internal exception."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, g, render_template, request, session
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException, SecurityError

from ..db import db, set_may_write
from ..state import get_state
from .translations import offer_language

_log = logging.getLogger(__name__)
_SECRET_FIELDS = ("password", "token", "trap", "secret", "key")  # parts of field names
_HARMLESS_FIELDS = {"secret_expires_on"}
_VALUE_LIMIT_CHARS = 2000
PROGRAMME_CHANGED = "programme-changed"  # key in the cookie session: it has shown another programme before


@dataclass(frozen=True)
class ErrorPage:
    """The texts of one error page."""

    heading: str
    explanation: str
    remedy: str


PAGES = {
    400: ErrorPage(
        lazy_gettext("We could not read this request"),
        lazy_gettext("Part of it is invalid."),
        lazy_gettext("Go back and try again."),
    ),
    403: ErrorPage(
        lazy_gettext("You do not have permission for this"),
        lazy_gettext("Your log-in does not allow this."),
        lazy_gettext("Log in with another account."),
    ),
    404: ErrorPage(
        lazy_gettext("Page not found"),
        lazy_gettext("There is no page at this address, or you do not have access to it."),
        lazy_gettext("Check the address, or go to the start page."),
    ),
    405: ErrorPage(
        lazy_gettext("This page cannot do that"),
        lazy_gettext("The page exists, but it does not accept this kind of request."),
        lazy_gettext("Start again."),
    ),
    413: ErrorPage(
        lazy_gettext("This was too large"),
        lazy_gettext("You sent more than a form of this portal accepts."),
        lazy_gettext("Shorten it and try again."),
    ),
    429: ErrorPage(
        lazy_gettext("Too many attempts"),
        lazy_gettext("There were too many attempts in a short time."),
        lazy_gettext("Wait a few minutes, then try again."),
    ),
    500: ErrorPage(
        lazy_gettext("Something went wrong on our side"),
        lazy_gettext("Your action was not completed. Emails that are waiting to be sent are safe."),
        lazy_gettext(
            "Try again. If it happens again, give the reference below to the operator of this portal."
        ),
    ),
    503: ErrorPage(
        lazy_gettext("The portal is busy"),
        lazy_gettext(
            "Its database did not answer in time. Nothing was saved. Emails that are waiting are safe."
        ),
        lazy_gettext("Try again in a moment."),
    ),
}


def install(app: Flask) -> None:
    """Register a handler for each kind of failure."""
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OperationalError, _database_error)
    app.register_error_handler(InterfaceError, _database_error)
    app.register_error_handler(Exception, _unexpected)


# (status, detail, headers to keep) -> a response
ErrorRenderer = Callable[[int, str, dict[str, str]], Any]


@dataclass
class _ErrorRenderers:
    by_prefix: dict[str, ErrorRenderer] = field(default_factory=dict)


def add_error_renderer(app: Flask, prefix: str, renderer: ErrorRenderer) -> None:
    """Render errors under a path prefix by ``renderer`` instead of pages."""
    get_state(app).part(_ErrorRenderers).by_prefix[prefix] = renderer


def _custom_renderer() -> ErrorRenderer | None:
    renderers = get_state().part(_ErrorRenderers).by_prefix
    return next((renderer for prefix, renderer in renderers.items() if request.path.startswith(prefix)), None)


def error_page(code: int, *, page: ErrorPage | None = None, **more: object) -> Any:
    """Render the page of a status; a status that is not in PAGES gets the page of its class."""
    if renderer := _custom_renderer():
        detail = f"Its reference is {more['reference']}." if "reference" in more else ""
        return renderer(code, detail, {})
    page = page or PAGES.get(code) or PAGES[500 if code >= 500 else 400]
    offer_language()
    g.is_error = True  # its template needs no banners, and their queries would fail again
    html = render_template(
        "errors/error.html",
        code=code,
        heading=page.heading,
        explanation=page.explanation,
        remedy=page.remedy,
        **more,
    )
    return html, code


def _http_error(error: HTTPException) -> Any:
    if isinstance(error, SecurityError):
        # The Host header is not the portal's name. No URL can be built then, so no page can be rendered.
        return (
            "This portal is not known by that name.\n",
            400,
            {"Content-Type": "text/plain; charset=utf-8"},
        )
    if error.code is None or error.code < 400:
        return error
    if renderer := _custom_renderer():
        headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
        return renderer(error.code, "", headers)
    return error_page(error.code)


def _csrf_error(error: CSRFError) -> Any:
    """Explain the rejected form and offer the entered values again, unless another site sent the form.

    Where it may be a form of another programme, the values are for reading only: sent again, they would change this one.
    """
    _log.info("form rejected: %s", error.description)
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        page = ErrorPage(
            _("This form was sent by another site"),
            _("Another site tried to send this form in your name. Nothing was changed."),
            _("If you did this yourself, open the page here and try again."),
        )
        return error_page(400, page=page)
    if session.get(PROGRAMME_CHANGED) or getattr(current_user, "programmes", 1) > 1:
        page = ErrorPage(
            _("This form may belong to another programme"),
            _(
                "While the form was open, you changed to another programme or logged in again. Nothing was "
                "changed."
            ),
            _(
                "Your entries are below. Open the page again, check which programme it shows, and enter them "
                "there."
            ),
        )
        return error_page(400, page=page, kept=submitted_values())
    page = ErrorPage(
        _("This page was open too long"),
        _("Your session changed while the form was open, so it was not accepted. Nothing was changed."),
        _("Your entries are below. Send them again. You have to enter passwords again."),
    )
    return error_page(400, page=page, kept=submitted_values(), kept_action=request.path)


def submitted_values() -> list[tuple[str, str]]:
    """Return the entered values except secrets, so that the page can offer to send them again."""
    return [
        (name, value)
        for name, value in request.form.items(multi=True)
        if value and len(value) <= _VALUE_LIMIT_CHARS and not is_secret_field(name)
    ]


def is_secret_field(name: str) -> bool:
    """Return whether a form's field may hold a secret, by its name."""
    return name not in _HARMLESS_FIELDS and any(word in name for word in _SECRET_FIELDS)


def _database_error(error: DBAPIError) -> Any:
    _continue_read_only()
    _log.error("database error at %s: %s", request.path, error.orig)
    if request.method == "POST":
        return error_page(503, kept=submitted_values(), kept_action=request.path)
    return error_page(503)


def _continue_read_only() -> None:
    """Roll back and switch to read-only transactions, so that rendering the error page does not wait for the write lock."""
    db.session.rollback()
    set_may_write(allowed=False)


def _unexpected(error: Exception) -> Any:
    _continue_read_only()
    reference = secrets.token_hex(4)
    _log.error("internal error, reference %s, at %s", reference, request.path, exc_info=error)
    return error_page(500, reference=reference)
