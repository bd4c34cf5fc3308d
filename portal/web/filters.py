"""What templates may call: moments, sizes, and the address of a static file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import utcnow

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

_STEPS = ((60, "second"), (3600, "minute"), (86400, "hour"), (86400 * 60, "day"))
_DIVISORS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Tell a moment by its distance: "just now", "3 minutes ago", "in 2 hours"."""
    if moment is None:
        return "never"
    seconds = ((now or utcnow()) - moment).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    unit = next((name for bound, name in _STEPS if size < bound), "day")
    count = int(size // _DIVISORS[unit])
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def moment(value: datetime | None) -> str:
    """Tell a moment exactly: 3 Nov 2026, 09:12 UTC."""
    return f"{value.day} {value:%b %Y, %H:%M} UTC" if value else ""


def install(app: Flask) -> None:
    """Make the filters known to Jinja."""
    app.jinja_env.filters["ago"] = ago
    app.jinja_env.filters["moment"] = moment
