"""Read-only transactions for requests that only read, so that they never wait for the write lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, request

from ..db import set_may_write

View = TypeVar("View", bound=Callable[..., Any])
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_ATTRIBUTE = "read_only_view"


def read_only_view(view: View) -> View:
    """Mark a view whose transactions are read-only for every method, except inside ``db.read_write``."""
    setattr(view, _ATTRIBUTE, True)
    return view


def install(app: Flask) -> None:
    """Choose for each request whether its transactions may write."""

    @app.before_request
    def _choose_mode() -> None:
        view = app.view_functions.get(request.endpoint or "")
        set_may_write(allowed=request.method not in _SAFE_METHODS and not hasattr(view, _ATTRIBUTE))

    @app.teardown_request
    def _reset_mode(_error: BaseException | None) -> None:
        set_may_write(allowed=True)
