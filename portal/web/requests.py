"""What views read of a request: the client's network, its own path, the endpoint of an address, a safe redirect target.

Requests that only read have read-only transactions, so that they never wait for the write lock.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flask import request as current_request
from flask.globals import request_ctx
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from ..db import set_may_write

if TYPE_CHECKING:
    from flask import Flask, Request

View = TypeVar("View", bound=Callable[..., Any])
_TARGET_LIMIT_CHARS = 2000
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_READ_ONLY = "read_only_view"


def network_of(request: Request) -> str:
    """Return the client's IPv4 address or IPv6 /64, the key of rate limits.

    A single client usually controls a whole /64, so a limit per IPv6 address would have no effect. The address
    is the one reported by the operator's proxies (their number is configured), never an unchecked header.
    """
    try:
        address = ipaddress.ip_address((request.remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def path_of(request: Request) -> str:
    """Return path and query of a request, as a redirect target; the full address contains the Host header."""
    return request.full_path if request.query_string else request.path


def endpoint_of(url: str, method: str) -> str:
    """Return the endpoint of an address of the portal, given without its host; empty for another one."""
    try:
        endpoint, _values = request_ctx.url_adapter.match(url.partition("?")[0], method)  # type: ignore[union-attr]
    except (HTTPException, RequestRedirect):
        return ""
    return str(endpoint)


def same_site_path(target: str | None) -> str | None:
    """Return ``target`` if it is a path of this site, else None.

    Browsers read ``//host`` and ``/\\host`` as another site, turn backslashes into slashes, and drop tabs and
    line breaks before they parse an address. A target with any of these is rejected, wherever it contains it.
    """
    if not target or len(target) > _TARGET_LIMIT_CHARS:
        return None
    if not target.startswith("/") or target.startswith("//"):
        return None
    if "\\" in target or any(c < "\x21" or "\x7f" <= c <= "\x9f" for c in target):
        return None
    return target


def read_only_view(view: View) -> View:
    """Mark a view whose transactions are read-only for every method, except inside ``db.read_write``."""
    setattr(view, _READ_ONLY, True)
    return view


def install(app: Flask) -> None:
    """Choose for each request whether its transactions may write."""

    @app.before_request
    def _choose_mode() -> None:
        view = app.view_functions.get(current_request.endpoint or "")
        set_may_write(allowed=current_request.method not in _SAFE_METHODS and not hasattr(view, _READ_ONLY))

    @app.teardown_request
    def _reset_mode(_error: BaseException | None) -> None:
        set_may_write(allowed=True)
