"""The HTTP API for shops: they report events and manage affiliates, authenticated by a token of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.sessions import SecureCookieSessionInterface

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SessionMixin
    from itsdangerous import URLSafeTimedSerializer


def install(app: Flask) -> None:
    """Register the API, its pages and its cleanup with the app."""
    from ..accounts.mailbox import made_since
    from ..jobs.registry import add_cleanup
    from ..web.errors import add_error_renderer
    from . import cleanup, problems, tokens, views, views_pages
    from .affiliates import views as affiliate_views  # noqa: F401 - importing it registers its routes
    from .settings import views as settings_views  # noqa: F401

    # No CSRF check: browsers do not send a bearer token on their own, so a request cannot be forged.
    app.extensions["csrf"].exempt(views.blueprint)
    app.session_interface = _SessionInterface(views.PREFIX)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(views_pages.blueprint)
    add_cleanup(app, cleanup.delete_old_requests)
    made_since.register_tokens(app, tokens.revoke_made_by)

    def render_error(code: int, detail: str, headers: dict[str, str]) -> Any:
        return problems.problem_response(problems.problem_for_status(code, detail, headers))

    add_error_renderer(app, views.PREFIX, render_error)


class _SessionInterface(SecureCookieSessionInterface):
    """Ignores session cookies under the API's prefix: a log-in neither authenticates API requests nor is extended by them."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._serializer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return the serializer of the cookie, made once: an app has one secret, and each request reads and writes it."""
        if self._serializer is None:
            self._serializer = super().get_signing_serializer(app)
        return self._serializer

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:  # type: ignore[override]
        if request.path.startswith(self.prefix):
            return self.make_null_session(app)
        return super().open_session(app, request)
