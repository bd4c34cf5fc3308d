"""Access control: recognise logged-in owners, send others to the log-in page, and guard the operator's pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask, abort, after_this_request, flash, g, redirect, request, session, url_for
from flask_login import AnonymousUserMixin, LoginManager, current_user, login_user
from sqlalchemy.exc import SQLAlchemyError

from ..clock import utcnow
from ..state import current_config
from ..web.requests import same_site_path
from . import known_browsers, sessions

if TYPE_CHECKING:
    from flask import Response as FlaskResponse
    from werkzeug.wrappers import Response

    from .known_browsers import KnownBrowser

View = TypeVar("View", bound=Callable[..., Any])

_LOG_IN_FIRST = "Log in to see this page."
_LOGGED_OUT_MEANWHILE = (
    "You were logged out before this arrived, so nothing was changed. Log in and do it again."
)


def install(app: Flask) -> None:
    """Set up Flask-Login with server-side sessions."""
    manager = LoginManager()
    manager.login_view = "accounts.log_in"
    manager.login_message = _LOG_IN_FIRST
    # Flask-Login's own protection ends a session when the client address changes, as it often does on a mobile device.
    manager.session_protection = None
    manager.init_app(app)
    manager.user_loader(_find_session)
    manager.unauthorized_handler(_redirect_to_log_in)
    # The cookie is kept for as long as a session may be idle, also when the browser is closed.
    app.permanent_session_lifetime = sessions.IDLE_LIMIT

    @app.before_request
    def _load_user() -> None:
        """Load the owner before the view runs, so that this query is never part of a transaction of the view."""
        if request.endpoint == "static" or "_user_id" not in session:
            return
        try:
            current_user._get_current_object()
        except SQLAlchemyError:
            g._login_user = AnonymousUserMixin()  # keeps the error page from querying the database
            raise


def operator_required(view: View) -> View:
    """Restrict a view to operators; others get 404."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs) if is_operator() else abort(404)

    return cast("View", guarded)


def is_operator() -> bool:
    """Return whether the current user is logged in and an operator of this portal."""
    return bool(current_user.is_authenticated and current_user.is_operator)


def start_browser_session(token: str) -> None:
    """Start a new cookie session for a log-in. The old one is cleared: an attacker may have planted it."""
    session.clear()
    session.permanent = True
    found = _find_session(token)
    if found is not None:
        login_user(found)
        remember_browser(found.id)


def known_browser() -> KnownBrowser | None:
    """Return the browser of this request, if an owner has logged in with it before."""
    return known_browsers.read(request.cookies.get(_browser_cookie()))


def remember_browser(owner_id: int) -> None:
    """Remember that this owner uses the browser of this request: a log-in or a reset password has proved it."""
    value = known_browsers.cookie_with(owner_id, known_browser())

    @after_this_request
    def set_cookie(response: FlaskResponse) -> FlaskResponse:
        response.set_cookie(
            _browser_cookie(),
            value,
            max_age=known_browsers.LIFETIME,
            secure=current_config().secure,
            httponly=True,
            samesite="Lax",
        )
        return response


def _browser_cookie() -> str:
    return "__Host-signet-browser" if current_config().secure else "signet-browser"


def _find_session(token: str) -> sessions.LoggedIn | None:
    return sessions.find(token, now=utcnow())


def _redirect_to_log_in() -> Response:
    if request.method not in {"GET", "HEAD"}:
        flash(_LOGGED_OUT_MEANWHILE, "info")
        return redirect(url_for("accounts.log_in"), 303)
    flash(_LOG_IN_FIRST, "info")
    # Only the path: the full address contains the Host header.
    target = request.full_path if request.query_string else request.path
    return redirect(url_for("accounts.log_in", next=same_site_path(target)), 303)
