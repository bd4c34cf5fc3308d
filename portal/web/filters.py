"""Template filters for times and addresses."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from flask_babel import ngettext

from ..clock import utcnow
from ..languages import write_moment, write_short_day, write_time
from ..smtp.mailbox import readable_mailbox
from .translations import current_code, current_language, page_zone, write_integer

if TYPE_CHECKING:
    from datetime import date, datetime

    from flask import Flask

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_JUST_NOW_S = 5
_WITHOUT_YEAR = timedelta(days=180)
# Upper bound of the range and the unit used in it, in seconds; beyond the last bound days are used, too.
_UNITS = ((_MINUTE_S, 1), (_HOUR_S, _MINUTE_S), (_DAY_S, _HOUR_S))


def ago(time: datetime | None, now: datetime | None = None) -> str:
    """Format a time by its distance from now: "just now", "3 minutes ago", "in 2 hours"."""
    if time is None:
        return str(_("never"))
    seconds = ((now or utcnow()) - time).total_seconds()
    size = abs(seconds)
    if size < _JUST_NOW_S:
        return str(_("just now"))
    unit = next((unit for bound, unit in _UNITS if size < bound), _DAY_S)
    return _distance(current_code(), unit, int(size // unit), is_past=seconds > 0)


@lru_cache(maxsize=5000)  # lists have many of few distances
def _distance(_language: str, unit: int, count: int, *, is_past: bool) -> str:
    """Return a distance in units of so many seconds. Whole phrases, because words change with "ago" and "in"."""
    if unit == 1:
        words = (
            ngettext("%(num)s second ago", "%(num)s seconds ago", count)
            if is_past
            else ngettext("in %(num)s second", "in %(num)s seconds", count)
        )
    elif unit == _MINUTE_S:
        words = (
            ngettext("%(num)s minute ago", "%(num)s minutes ago", count)
            if is_past
            else ngettext("in %(num)s minute", "in %(num)s minutes", count)
        )
    elif unit == _HOUR_S:
        words = (
            ngettext("%(num)s hour ago", "%(num)s hours ago", count)
            if is_past
            else ngettext("in %(num)s hour", "in %(num)s hours", count)
        )
    else:
        words = (
            ngettext("%(num)s day ago", "%(num)s days ago", count)
            if is_past
            else ngettext("in %(num)s day", "in %(num)s days", count)
        )
    return str(words)


def format_time(time: datetime | None, seconds: bool = False) -> str:  # noqa: FBT001, FBT002 - a template's filter
    """Format a time exactly in the language and time zone of the page, as 3 Nov 2026, 09:12 UTC."""
    if time is None:
        return ""
    local = time.astimezone(page_zone())
    return f"{write_time(local, current_language(), with_seconds=seconds)} {local:%Z}"


def format_short_time(time: datetime, seconds: bool = False) -> str:  # noqa: FBT001, FBT002 - a template's filter
    """Format a time beside its distance from now, as 3 Nov, 09:12, with the year where it is months away."""
    local, language = time.astimezone(page_zone()), current_language()
    is_near = abs(utcnow() - time) < _WITHOUT_YEAR
    write = write_moment if is_near else write_time
    return write(local, language, with_seconds=seconds)


def format_day(day: date) -> str:
    """Format a day in the language of the page, as 3 Nov 2026."""
    return write_short_day(day, current_language(), with_year=True)


def format_bucket(time: datetime, *, with_clock: bool) -> str:
    """Format the beginning of an hour or a day of a chart in the language of the page, as 3 Nov, 09:00 or 3 Nov.

    Hours are shown in the time zone of the page; days are those of UTC, by which they are counted.
    """
    language = current_language()
    return (
        write_moment(time.astimezone(page_zone()), language)
        if with_clock
        else write_short_day(time, language)
    )


def install(app: Flask) -> None:
    """Register the filters with Jinja."""
    app.jinja_env.filters["ago"] = ago
    app.jinja_env.filters["bucket"] = format_bucket
    app.jinja_env.filters["day"] = format_day
    app.jinja_env.filters["moment"] = format_time
    app.jinja_env.filters["short_moment"] = format_short_time
    app.jinja_env.filters["number"] = write_integer
    app.jinja_env.filters["readable_mailbox"] = readable_mailbox
