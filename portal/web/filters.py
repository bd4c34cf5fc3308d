"""Template filters for times, and ``asset_url`` for the address of a static file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import utcnow

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

_STEPS = ((60, "second"), (3600, "minute"), (86400, "hour"), (86400 * 60, "day"))
_DIVISORS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


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


def format_time(time: datetime | None) -> str:
    """Format a time exactly, as 3 Nov 2026, 09:12 UTC."""
    return f"{time.day} {time:%b %Y, %H:%M} UTC" if time else ""


def install(app: Flask) -> None:
    """Make the filters known to Jinja."""
    app.jinja_env.filters["ago"] = ago
    app.jinja_env.filters["moment"] = format_time
