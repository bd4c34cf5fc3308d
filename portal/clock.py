"""The current time. The only module that reads the system clock, so that tests can freeze time in one place."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the current time, timezone-aware, in UTC."""
    return datetime.now(UTC)
