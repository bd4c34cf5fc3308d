"""At the door: who is asking, and where those are sent who must log in first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask, abort, flash, g, redirect, request, session, url_for
from flask_login import AnonymousUserMixin, LoginManager, current_user, login_user
from sqlalchemy.exc import SQLAlchemyError

from ..clock import utcnow
from ..web.requests import same_site_path
from . import sessions

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

View = TypeVar("View", bound=Callable[..., Any])

_MESSAGE = "Log in to see this page."
_MESSAGE_SENT = "You were logged out before this arrived, so nothing was changed. Log in and do it again."


def install(app: Flask) -> None:
    """Teach the app to recognise owners by their log-in sessions."""
    manager = LoginManager()
    manager.login_view = "accounts.log_in"
    manager.login_message = _MESSAGE
    # Flask-Login's own protection ends sessions when an address changes, as a telephone's does all day.
    manager.session_protection = None
    manager.init_app(app)
    manager.user_loader(_find)
    manager.unauthorized_handler(_to_log_in)
    # The cookie outlives a closed browser exactly as long as an idle session lives.
    app.permanent_session_lifetime = sessions.IDLE_LIMIT

    @app.before_request
    def _who_is_asking() -> None:
        """Look the owner up before anything else, so that it never falls into somebody's transaction."""
        if request.endpoint == "static" or "_user_id" not in session:
            return
        try:
            current_user._get_current_object()
        except SQLAlchemyError:
            g._login_user = AnonymousUserMixin()  # or the error page would ask the same broken database again
            raise


def operator_required(view: View) -> View:
    """Let operators in alone; for everybody else there is no such page."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs) if is_operator() else abort(404)

    return cast("View", guarded)


def is_operator() -> bool:
    """Return whether somebody who runs this portal is asking."""
    return bool(current_user.is_authenticated and current_user.is_operator)


def start_browser_session(token: str) -> None:
    """Begin a fresh cookie for this log-in: nothing that was in it before may be somebody else's doing."""
    session.clear()
    session.permanent = True
    found = _find(token)
    if found is not None:
        login_user(found)


def _find(token: str) -> sessions.LoggedIn | None:
    return sessions.find(token, now=utcnow())


def _to_log_in() -> Response:
    if request.method not in {"GET", "HEAD"}:
        flash(_MESSAGE_SENT, "info")
        return redirect(url_for("accounts.log_in"), 303)
    flash(_MESSAGE, "info")
    # The path as it was asked for; the full address would carry the Host header along.
    asked = request.full_path if request.query_string else request.path
    return redirect(url_for("accounts.log_in", next=same_site_path(asked)), 303)
