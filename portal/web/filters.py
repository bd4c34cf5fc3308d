"""Template filters for times and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import utcnow
from ..languages import write_time
from ..smtp.mailbox import readable_mailbox
from .translations import current_language

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_JUST_NOW_S = 5
# Upper bound of the range and the unit used in it, in seconds; beyond the last bound days are used, too.
_UNITS = (
    (_MINUTE_S, 1, "second"),
    (_HOUR_S, _MINUTE_S, "minute"),
    (_DAY_S, _HOUR_S, "hour"),
    (60 * _DAY_S, _DAY_S, "day"),
)


def ago(time: datetime | None, now: datetime | None = None) -> str:
    """Format a time by its distance from now: "just now", "3 minutes ago", "in 2 hours"."""
    if time is None:
        return "never"
    seconds = ((now or utcnow()) - time).total_seconds()
    size = abs(seconds)
    if size < _JUST_NOW_S:
        return "just now"
    length, unit = next(((length, unit) for bound, length, unit in _UNITS if size < bound), (_DAY_S, "day"))
    count = int(size // length)
    distance = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{distance} ago" if seconds > 0 else f"in {distance}"


def format_time(time: datetime | None, seconds: bool = False) -> str:  # noqa: FBT001, FBT002 - a template's filter
    """Format a time exactly in the language of the page, as 3 Nov 2026, 09:12 UTC."""
    return f"{write_time(time, current_language(), with_seconds=seconds)} UTC" if time else ""


def install(app: Flask) -> None:
    """Register the filters with Jinja."""
    app.jinja_env.filters["ago"] = ago
    app.jinja_env.filters["moment"] = format_time
    app.jinja_env.filters["readable_mailbox"] = readable_mailbox
