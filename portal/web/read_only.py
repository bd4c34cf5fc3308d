"""Whether the transactions of a page write: those of a page that is only looked at do not, so it waits for no writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, request

from ..db import set_may_write

View = TypeVar("View", bound=Callable[..., Any])
_SAFE = {"GET", "HEAD", "OPTIONS"}
_MARK = "reads_first"


def read_only_view(view: View) -> View:
    """Mark a view that only reads, whatever the method, until a deed says that it writes: ``db.writing``."""
    setattr(view, _MARK, True)
    return view


def install(app: Flask) -> None:
    """Decide for each request how its transactions begin."""

    @app.before_request
    def _reading_or_writing() -> None:
        view = app.view_functions.get(request.endpoint or "")
        set_may_write(request.method not in _SAFE and not hasattr(view, _MARK))

    @app.teardown_request
    def _forget(_error: BaseException | None) -> None:
        set_may_write(True)
