"""Filters of the page *Activity*: parsed from a query string and serialized to one. No HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _

from ...audit import ActivityKind
from ...clock import parse_day, start_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime, tzinfo

_MAX_ID_DIGITS = 12


@dataclass(frozen=True)
class ActivityFilters:
    """What is shown. Days are whole days in the account's time zone, both included."""

    person: int | None = None
    kind: ActivityKind | None = None
    since: date | None = None
    until: date | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> ActivityFilters:
        """Read a query string. Unusable values are left out; ``misread`` explains them."""
        person, kind = args.get("person", ""), args.get("kind", "")
        is_id = person.isascii() and person.isdigit() and len(person) <= _MAX_ID_DIGITS
        return cls(
            person=int(person) if is_id else None,
            kind=ActivityKind(kind) if kind in set(ActivityKind) else None,
            since=parse_day(args.get("since", "")),
            until=parse_day(args.get("until", "")),
        )

    def misread(self, args: Mapping[str, str]) -> dict[str, str]:
        """Return, for each day that is none, a sentence about what its field accepts."""
        hint = _("Enter the day like this: 2026-11-30.")
        wrong = {
            name: hint
            for name in ("since", "until")
            if args.get(name, "").strip() and getattr(self, name) is None
        }
        if self.since and self.until and self.until < self.since:
            wrong["until"] = _("The last day is before the first one.")
        return wrong

    def query(self) -> dict[str, str]:
        """Return the query string that ``read`` reads."""
        values = {"person": self.person, "kind": self.kind, "since": self.since, "until": self.until}
        return {name: str(value) for name, value in values.items() if value is not None}

    def start(self, zone: tzinfo) -> datetime | None:
        """Return the first moment of the first day."""
        return start_of(self.since, zone) if self.since else None

    def end(self, zone: tzinfo) -> datetime | None:
        """Return the first moment after the last day."""
        return start_of(self.until + timedelta(days=1), zone) if self.until else None
