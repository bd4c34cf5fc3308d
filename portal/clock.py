"""The current time, days and time zones. Only this module reads the system clock, so tests freeze it in one place."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def utcnow() -> datetime:
    """Return the current time, timezone-aware, in UTC."""
    return datetime.now(UTC)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name, or UTC if this machine does not know the name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def parse_day(typed: str) -> date | None:
    """Return the day of an ISO date, if its year leaves room for date arithmetic; None for anything else."""
    try:
        found = date.fromisoformat(typed.strip())
    except ValueError:
        return None
    return found if 2000 <= found.year <= 2999 else None


def start_of(day: date, zone: tzinfo = UTC) -> datetime:
    """Return the first moment of a day in a time zone."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
