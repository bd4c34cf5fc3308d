"""Reporting weeks: Monday to Monday in the account's time zone, due on Monday at nine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ..clock import zone_of

_DUE_AT = time(9)


@dataclass(frozen=True)
class WeekSpan:
    """A week in an account's time zone. ``name`` is in ISO 8601 format, such as 2026-W47."""

    name: str
    first: date
    starts_at: datetime
    ends_at: datetime
    due_at: datetime

    @property
    def last(self) -> date:
        return self.first + timedelta(days=6)


def days_of(name: str) -> tuple[date, date]:
    """Return the first and the last day of a week by its name, such as 2026-W47."""
    first = date.fromisocalendar(int(name[:4]), int(name[6:]), 1)
    return first, first + timedelta(days=6)


def latest_due_week(now: datetime, zone_name: str) -> WeekSpan:
    """Return the newest week whose summary is due."""
    zone = zone_of(zone_name)
    local = now.astimezone(zone)
    monday = local.date() - timedelta(days=local.weekday())
    if now < _utc(monday, _DUE_AT, zone):
        monday -= timedelta(days=7)
    return _week_from(monday - timedelta(days=7), zone)


def _week_from(monday: date, zone: tzinfo) -> WeekSpan:
    year, number, _ = monday.isocalendar()
    following = monday + timedelta(days=7)
    return WeekSpan(
        name=f"{year}-W{number:02}",
        first=monday,
        starts_at=_utc(monday, time(), zone),
        ends_at=_utc(following, time(), zone),
        due_at=_utc(following, _DUE_AT, zone),
    )


def _utc(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
