"""Access control: recognise who is logged in, and let no request pass that its right does not allow.

What a stolen session must not do passes only shortly after a proof of person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import (
    Flask,
    abort,
    after_this_request,
    current_app,
    flash,
    g,
    redirect,
    request,
    session,
    url_for,
)
from flask_babel import gettext as _
from flask_babel import lazy_gettext
from flask_login import AnonymousUserMixin, LoginManager, current_user, login_user
from sqlalchemy.exc import SQLAlchemyError

from ..audit import Activity, AuditTarget, record_refusal
from ..clock import utcnow
from ..state import current_config, get_state
from ..web.errors import PROGRAMME_CHANGED, ErrorPage, error_page, submitted_values
from ..web.requests import endpoint_of, network_of, path_of, same_site_path
from . import known_browsers, sessions
from .proof import kept, views_asking
from .team import members
from .team.rights import (
    Right,
    Role,
    endpoints,
    needed,
    needs_factor,
    page_to_prove,
    roles_with,
)

if TYPE_CHECKING:
    from flask import Response as FlaskResponse
    from werkzeug.datastructures import MultiDict
    from werkzeug.wrappers import Response

    from .known_browsers import KnownBrowser

KEPT_ARGUMENT = "kept"  # in the address of a page that fills its form with what was typed before a proof
_TOKEN = "_user_id"  # Flask-Login's key in the cookie session
_PENDING, _JOINING = "second_factor", "joining"  # in the cookie session of a log-in that waits
_LOG_IN_FIRST = lazy_gettext("Log in to see this page.")
_LOGGED_OUT_MEANWHILE = lazy_gettext(
    "You were logged out in the meantime, so nothing was changed. Log in and try again."
)


def install(app: Flask) -> None:
    """Set up Flask-Login with server-side sessions, and the check of rights before every request."""
    manager = LoginManager()
    manager.login_view = "accounts.log_in"
    manager.login_message = _LOG_IN_FIRST
    # Flask-Login's own protection ends a session when the client address changes, as it often does on a mobile device.
    manager.session_protection = None
    manager.init_app(app)
    manager.user_loader(_find_session)
    manager.unauthorized_handler(_redirect_to_log_in)
    # The cookie is kept until the session can be no longer valid, also when the browser is closed. It is not sent again
    # with each page: a slow answer would bring back the token of before a proof of person.
    app.permanent_session_lifetime = timedelta(seconds=get_state(app).config.session_age)
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False

    @app.before_request
    def _load_user() -> None:
        """Load the owner before the view runs, so that this query is never part of a transaction of the view."""
        if request.endpoint == "static" or _TOKEN not in session:
            return
        try:
            current_user._get_current_object()
        except SQLAlchemyError:
            g._login_user = AnonymousUserMixin()  # keeps the error page from querying the database
            raise

    app.before_request(_check_right)
    app.jinja_env.globals["may_send"] = may_send
    app.jinja_env.globals["may_get"] = may_get
    app.jinja_env.globals["asks_proof"] = asks_proof
    app.jinja_env.globals["who_may_send"] = who_may_send
    app.jinja_env.globals["role_name"] = role_name


def require_rows(app: Flask) -> None:
    """Raise RuntimeError where an endpoint of the app has no row in the table of rights."""
    missing = {rule.endpoint for rule in app.url_map.iter_rules()} - endpoints()
    if missing:
        raise RuntimeError(f"no right in portal/accounts/team/rights.py: {', '.join(sorted(missing))}")


def _check_right() -> Any:
    """Answer a request that may not pass: 404, the log-in page, or 403 with the names of those who may.

    The answer to OPTIONS is Flask's own and states nothing but the methods.
    """
    if request.endpoint is None or request.method == "OPTIONS":
        return None
    right = needed(request.endpoint, request.method)
    if right is None:
        abort(404)
    if right is Right.OPERATE and not is_operator():
        abort(404)
    if right is not Right.PUBLIC:
        if not current_user.is_authenticated:
            return current_app.login_manager.unauthorized()  # type: ignore[attr-defined]
        if current_user.lacks_factor and needs_factor(request.endpoint):
            return _ask_for_factor()
        if right is not Right.OPERATE and not current_user.may(right):
            return _refuse(right)
    return _ask_for_proof()


def _ask_for_proof() -> Any:
    """Answer a logged-in person's request that needs a younger proof of person; None where it needs none.

    Who is not logged in proves the identity in the form itself, where there is one to prove.
    """
    page = page_to_prove(request.endpoint or "", request.method)
    if page is None or not current_user.is_authenticated or current_user.is_proved(utcnow()):
        return None
    return views_asking.ask_first() if request.method in {"GET", "HEAD"} else views_asking.ask_again(page)


def _ask_for_factor() -> Any:
    """Lead to the set-up of the second factor that the account demands. What was typed is shown for copying."""
    if request.method in {"GET", "HEAD"}:
        return redirect(url_for("factors.index"), 303)
    page = ErrorPage(
        _("Set up a second factor first"),
        _(
            "%(programme)s requires a second factor for everyone. Nothing was changed.",
            programme=current_user.account.name,
        ),
        _("Set one up under Account, then try again."),
    )
    return error_page(403, page=page, kept=submitted_values())


def _refuse(right: Right) -> Any:
    """Render the page of a refusal: what the person is, and who can do it. What was typed is shown for copying."""
    programme, who = current_user.account.name, members.names_with(current_user.account_id, right)
    explanation = _("In %(programme)s you are %(role)s.", programme=programme, role=_role(current_user.role))
    if request.method not in {"GET", "HEAD"}:
        explanation += " " + _("Nothing was changed.")
        record_refusal(
            Activity.REFUSED_BY_ROLE,
            current_user.account_id,
            key=current_user.session_id,
            target=AuditTarget("page", name=request.endpoint or ""),
        )
    page = ErrorPage(
        _("Your role does not include this"),
        explanation,
        _("These people can: %(names)s.", names=", ".join(who)),
    )
    return error_page(403, page=page, kept=submitted_values())


def role_name(role: Role) -> str:
    """Return the name of a role, as a label. For templates."""
    return str({Role.OWNER: _("Owner"), Role.EDITOR: _("Editor"), Role.VIEWER: _("Viewer")}[role])


def _role(role: Role) -> str:
    return str({Role.OWNER: _("an owner"), Role.EDITOR: _("an editor"), Role.VIEWER: _("a viewer")}[role])


def may_send(url: str, method: str = "POST") -> bool:
    """Return whether the visitor of this page may send a request to an address of the portal. For templates."""
    return _holds(_right_of(url, method))


def may_get(endpoint: str) -> bool:
    """Return whether the visitor of this page may open that of an endpoint, which costs less than by its address."""
    return _holds(needed(endpoint, "GET"))


def _holds(right: Right | None) -> bool:
    user = current_user._get_current_object()  # once, because each attribute of the proxy looks the person up
    if right in {None, Right.PUBLIC} or not user.is_authenticated:
        return True
    return bool(user.is_operator if right is Right.OPERATE else user.may(right))


def who_may_send(url: str, method: str = "POST") -> str:
    """Return which roles may send to an address: "owners", or "owners and editors". For templates."""
    right = _right_of(url, method)
    roles = roles_with(right) if right else []
    return str(_("owners and editors") if Role.EDITOR in roles else _("owners"))


def asks_proof(url: str) -> bool:
    """Return whether a form to this address would be interrupted by the question for a proof. For templates."""
    if not current_user.is_authenticated or current_user.is_proved(utcnow()):
        return False
    return page_to_prove(endpoint_of(url, "POST"), "POST") is not None


def kept_form(endpoint: str) -> MultiDict[str, str] | None:
    """Return what was typed into the form of an endpoint before the proof of person that has just been asked for.

    A view gives it to the form as ``formdata`` when it shows the page.
    """
    if KEPT_ARGUMENT not in request.args or not current_user.is_authenticated:
        return None
    found = kept.unpack(sessions.kept_form(current_user)) if current_user.is_proved(utcnow()) else None
    return found.formdata if found is not None and found.endpoint == endpoint else None


def _right_of(url: str, method: str) -> Right | None:
    return needed(endpoint_of(url, method), method)


def is_operator() -> bool:
    """Return whether the current user is logged in and an operator of this portal."""
    return bool(current_user.is_authenticated and current_user.is_operator)


def forget_forms() -> None:
    """Let forms of pages that were opened before be refused: they may be those of another programme."""
    session.pop("csrf_token", None)
    g.pop("csrf_token", None)
    session[PROGRAMME_CHANGED] = True


def start_browser_session(token: str) -> None:
    """Start a new cookie session for a log-in. The old one is cleared: an attacker may have planted it."""
    session.clear()
    session.permanent = True
    found = _find_session(token)
    if found is not None:
        login_user(found)
        remember_browser(found.id)


def renew_browser_session(token: str) -> None:
    """Continue the cookie session with a new token, after a proof of person. Forms of open pages stay valid."""
    session[_TOKEN] = token


def this_device() -> sessions.Device:
    """Return the device that sent the request."""
    return sessions.Device(sessions.describe_device(request.user_agent.string), network_of(request))


def start_pending_log_in(token: str, *, joining: str = "") -> None:
    """Start a new cookie session for a log-in that waits for its second factor; it shows nothing else.

    ``joining`` is the token of the invitation by which the person joins as soon as the log-in is complete.
    """
    session.clear()
    session[_PENDING] = token
    if joining:
        session[_JOINING] = joining


def pending_log_in() -> tuple[str, str]:
    """Return the token of the log-in that waits in this browser, and that of an invitation; "" where there is none."""
    return str(session.get(_PENDING, "")), str(session.get(_JOINING, ""))


def forget_invitation() -> None:
    """Let the log-in that waits in this browser go on without the invitation, which has ended."""
    session.pop(_JOINING, None)


def forget_pending_log_in() -> None:
    """Remove the log-in that waits in this browser."""
    session.pop(_PENDING, None)
    session.pop(_JOINING, None)


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
    return redirect(url_for("accounts.log_in", next=same_site_path(path_of(request))), 303)
