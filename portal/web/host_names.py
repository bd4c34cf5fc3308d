"""The host names that the portal answers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import LOOPBACK_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask

    from ..config import Config

_LITERAL = "[::1]"


class LocalIPv6:
    """WSGI middleware that replaces [::1] in the Host header by localhost.

    Werkzeug's list of trusted hosts cannot hold an IPv6 address: it ends each entry at its first colon.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        if host.startswith(_LITERAL):
            environ["HTTP_HOST"] = f"localhost{host.removeprefix(_LITERAL)}"
        return self._application(environ, start_response)


def install(app: Flask, config: Config) -> None:
    """Let the portal answer to its public name, or to each name of this machine if its address is local."""
    if not config.is_local:
        app.config["TRUSTED_HOSTS"] = [config.host_name]
        return
    app.config["TRUSTED_HOSTS"] = sorted(LOOPBACK_NAMES)
    app.wsgi_app = LocalIPv6(app.wsgi_app)  # type: ignore[method-assign]
