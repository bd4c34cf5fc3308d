"""The week that an account's clock has just ended. A week is told of on Monday at nine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DUE_AT = time(9)


@dataclass(frozen=True)
class WeekSpan:
    """A week, from Monday to Monday by the account's clock."""

    name: str  # as ISO 8601 writes it: 2026-W47
    first: date
    starts_at: datetime
    ends_at: datetime
    due_at: datetime

    @property
    def last(self) -> date:
        return self.first + timedelta(days=6)


def time_zone(name: str) -> tzinfo:
    """Return a time zone by its name; one that this machine does not know counts as UTC."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def latest_due_week(now: datetime, zone_name: str) -> WeekSpan:
    """Return the newest week that is due, or was."""
    clock = time_zone(zone_name)
    here = now.astimezone(clock)
    monday = here.date() - timedelta(days=here.weekday())
    if now < _utc(monday, _DUE_AT, clock):
        monday -= timedelta(days=7)
    return _week(monday - timedelta(days=7), clock)


def week_named(name: str, zone_name: str) -> WeekSpan:
    """Return the week with this name."""
    return _week(datetime.strptime(f"{name}-1", "%G-W%V-%u").date(), time_zone(zone_name))


def _week(first: date, clock: tzinfo) -> WeekSpan:
    year, number, _ = first.isocalendar()
    following = first + timedelta(days=7)
    return WeekSpan(
        name=f"{year}-W{number:02}",
        first=first,
        starts_at=_utc(first, time(), clock),
        ends_at=_utc(following, time(), clock),
        due_at=_utc(following, _DUE_AT, clock),
    )


def _utc(day: date, at: time, clock: tzinfo) -> datetime:
    return datetime.combine(day, at, tzinfo=clock).astimezone(UTC)
