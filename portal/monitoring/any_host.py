"""Lets the monitoring endpoints answer under any host name.

The portal refuses requests whose Host header is not its public name. Probes of load balancers and scrapes of Prometheus
reach a process by an address of the inner network instead. The endpoints build no link, so the name has no effect on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..state import get_state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class AnyHost:
    """WSGI middleware that replaces the Host header of requests to PATHS by the portal's public name."""

    def __init__(self, application: WSGIApplication, host: str) -> None:
        self._application = application
        self._host = host

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in PATHS:
            environ["HTTP_HOST"] = self._host
        return self._application(environ, start_response)


def install(app: Flask) -> None:
    """Wrap the application."""
    host = urlsplit(get_state(app).config.base_url).netloc
    app.wsgi_app = AnyHost(app.wsgi_app, host)  # type: ignore[method-assign]
