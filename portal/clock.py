"""The only place that asks what time it is, so that a test can stop the clock in one place."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
