"""Time zones to choose from, as the tz database names them."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

UTC = "UTC"
# The database has more names than these: old ones, and zones without a place, whose signs mislead (Etc/GMT+5).
_REGIONS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)
Choices = dict[str, list[tuple[str, str]]]


@cache
def _places() -> tuple[tuple[str, str], ...]:
    names = (name.partition("/") for name in sorted(available_timezones()))
    return tuple((region, place) for region, slash, place in names if slash and region in _REGIONS)


def time_zone_choices(present: str) -> Choices:
    """Return value and words of each zone, by region; ``present`` is among them even where this machine lacks it."""
    found: Choices = {"Everywhere": [(UTC, "UTC")]}
    for region, place in _places():
        words = ", ".join(reversed(place.split("/"))).replace("_", " ")
        found.setdefault(region, []).append((f"{region}/{place}", words))
    if present not in {value for zones in found.values() for value, _ in zones}:
        found["Everywhere"].append((present, present))
    return found
