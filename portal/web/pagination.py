"""Lists: keyset pagination, and their results alone for the script that searches while a person types.

Keyset pages are stable while rows are added, and the last is as fast as the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flask import Response, g, request
from flask_login import current_user
from sqlalchemy import func, or_

from ..clock import utcnow
from ..db import db, read_write
from . import owner_limits
from .translations import write_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute

T = TypeVar("T")
SEARCH_CHARS = 100


@dataclass(frozen=True)
class Count:
    """A number of rows; with ``more`` it is a lower bound."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        if self.more and not self.number:
            return "…"
        return f"{write_integer(self.number)}{'+' if self.more else ''}"

    def __bool__(self) -> bool:
        return self.more or self.number > 0


def capped(number: int, limit: int) -> Count:
    """Return the count of rows of which up to ``limit + 1`` were found: "1,000+" where there are more than the limit."""
    return Count(min(number, limit), number > limit)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of rows, newest first. ``older`` and ``newer`` are the keys of the adjacent pages, if any."""

    rows: Sequence[T]
    older: int | None
    newer: int | None


def newest_first(
    query: Select[Any],
    key: InstrumentedAttribute[int],
    *,
    before: int | None = None,
    after: int | None = None,
    size: int = 50,
) -> Page[Any]:
    """Return the page older than ``before`` or newer than ``after``; the first page without either."""
    if after is not None:
        rows = list(reversed(_take(query.where(key > after).order_by(key.asc()), size + 1)))
        more_newer, rows = len(rows) > size, rows[-size:]
        return _page(rows, key.key, more_older=bool(rows), more_newer=more_newer)
    if before is not None:
        query = query.where(key < before)
    rows = _take(query.order_by(key.desc()), size + 1)
    return _page(
        rows[:size], key.key, more_older=len(rows) > size, more_newer=before is not None and bool(rows)
    )


def _take(query: Select[Any], count: int) -> list[Any]:
    return list(db.session.scalars(query.limit(count)))


def _page(rows: list[Any], name: str, *, more_older: bool, more_newer: bool) -> Page[Any]:
    key_of: Callable[[Any], int] = attrgetter(name)
    return Page(
        rows,
        key_of(rows[-1]) if rows and more_older else None,
        key_of(rows[0]) if rows and more_newer else None,
    )


def key_argument(value: str | None) -> int | None:
    """Parse a pagination key from the query string; None, the first page, if it is not a number."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 19 else None


def search_argument(value: str | None) -> str:
    """Return what was typed into the search of a list, at most ``SEARCH_CHARS`` characters; empty if nothing was."""
    return (value or "").replace("\x00", "").strip()[:SEARCH_CHARS]


def is_in(search: str, *columns: Any) -> ColumnElement[bool]:
    """Return the condition that one of these columns contains a search, whatever the case of its letters."""
    return or_(*(func.lower(column).contains(search.lower(), autoescape=True) for column in columns))


def searched_live(view: Callable[[], Any]) -> Callable[[], Any]:
    """Let the view of a list answer the portal's script with the block ``results`` of its page.

    It answers 429 beyond ``owner_limits.LIVE_SEARCHES``.
    """

    @wraps(view)
    def answer() -> Any:
        if request.headers.get("X-Requested-With") != "fetch":
            return view()
        try:
            with read_write():
                owner_limits.count(owner_limits.LIVE_SEARCHES, current_user.account_id, now=utcnow())
        except owner_limits.LimitReached as reached:
            wait = {"Retry-After": str(int(reached.wait.total_seconds()) + 1)}
            return Response(str(reached), 429, wait, mimetype="text/plain")
        g.is_fragment = True
        return view()

    return answer


def is_fragment() -> bool:
    """Return whether this request gets the results of a list alone, without what is around them on its page."""
    return "is_fragment" in g


def install(app: Flask) -> None:
    """Give templates ``list_layout()``: the layout of a list's page, or of its results alone."""
    app.jinja_env.globals["list_layout"] = lambda: (
        "layouts/fragment.html" if is_fragment() else "layouts/portal.html"
    )
