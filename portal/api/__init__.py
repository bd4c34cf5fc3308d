"""The interface for shops: they tell what happened, by tokens of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.sessions import SecureCookieSessionInterface

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SessionMixin


def install(app: Flask) -> None:
    """Introduce the room to the app."""
    from ..jobs.registry import add_cleanup
    from ..web.errors import add_error_renderer
    from . import cleanup, problems, views, views_pages

    # A token is no cookie: no browser sends it by itself, so there is nothing to forge a request with.
    app.extensions["csrf"].exempt(views.blueprint)
    app.session_interface = _NoCookies(views.PREFIX)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(views_pages.blueprint)
    add_cleanup(app, cleanup.forget)

    def told(code: int, detail: str, headers: dict[str, str]) -> Any:
        return problems.answer(problems.of_status(code, detail, headers))

    add_error_renderer(app, views.PREFIX, told)


class _NoCookies(SecureCookieSessionInterface):
    """Neither reads nor sets a session where tokens are asked for: a log-in must not open the interface, or prolong."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def open_session(self, app: Flask, request: Request) -> SessionMixin | None:  # type: ignore[override]
        if request.path.startswith(self.prefix):
            return self.make_null_session(app)
        return super().open_session(app, request)
