"""Filters of the delivery log: parsed from a query string and serialized to one. No HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext

from ..bounces.meaning import RANKS
from ..clock import parse_day, start_of, zone_of
from ..notices.catalogue import CATALOGUE
from ..outbox.models import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_UTC = "UTC"
_MAX_ZONE_CHARS = 64
_MAX_QUERY_CHARS = 300  # characters that are searched for
_FORMAT_HINTS = {
    "code": lazy_gettext("A reply code is a number from 200 to 599, such as 550."),
    "version": lazy_gettext("A version is a whole number, such as 3."),
    "since": lazy_gettext("Enter the day like this: 2026-11-30."),
    "until": lazy_gettext("Enter the day like this: 2026-11-30."),
}


class SearchField(StrEnum):
    """Where the query is searched. AUTO decides by what was typed."""

    AUTO = ""
    RECIPIENT = "recipient"
    SUBJECT = "subject"
    ID = "id"


@dataclass(frozen=True)
class Filters:
    """The filters of the log. Days are whole days in ``zone``, both included."""

    q: str = ""
    by: SearchField = SearchField.AUTO
    status: Status | None = None
    outcome: str = ""  # a meaning that is a state, such as "hard"
    kind: str = ""
    code: int | None = None
    version: int | None = None
    since: date | None = None
    until: date | None = None
    zone: str = _UTC

    @classmethod
    def read(cls, args: Mapping[str, str], zone: str = _UTC) -> Filters:
        """Read a query string. Unusable values are left out; ``misread`` explains them.

        ``zone`` is that of the days where the query string, which keeps it with them, names none.
        """
        kind, by, status, outcome = (args.get(name, "") for name in ("kind", "by", "status", "outcome"))
        return cls(
            q=_clean(args.get("q", "")),
            by=SearchField(by) if by in set(SearchField) else SearchField.AUTO,
            status=Status(status) if status in set(Status) else None,
            outcome=outcome if outcome in set(RANKS) else "",
            kind=kind if kind in CATALOGUE else "",
            code=_number(args.get("code", ""), 200, 599),
            version=_number(args.get("version", ""), 1, 10**9),
            since=parse_day(args.get("since", "")),
            until=parse_day(args.get("until", "")),
            zone=args.get("zone", "")[:_MAX_ZONE_CHARS] or zone,
        )

    def misread(self, args: Mapping[str, str]) -> dict[str, str]:
        """Return, for each field with an unusable value, a sentence about what it accepts."""
        wrong = {
            name: hint
            for name, hint in _FORMAT_HINTS.items()
            if args.get(name, "").strip() and getattr(self, name) is None
        }
        if self.since and self.until and self.until < self.since:
            wrong["until"] = _("This date is before the start date, so no email can match.")
        return wrong

    def query(self) -> dict[str, Any]:
        """Return the query string that ``read`` reads."""
        left_out = set() if (self.since or self.until) and self.zone != _UTC else {"zone"}
        values = {name: value for name, value in asdict(self).items() if name not in left_out}
        return {name: str(value) for name, value in values.items() if value not in (None, "")}

    def without(self, name: str) -> Filters:
        """Return the filters without one; the query goes together with its search field."""
        gone = ("q", "by") if name == "q" else (name,)
        return replace(self, **{field.name: field.default for field in fields(self) if field.name in gone})  # type: ignore[arg-type]

    @property
    def active(self) -> list[str]:
        """The names of the filters that are set."""
        return [name for name in self.query() if name not in ("by", "zone")]

    @property
    def narrowed(self) -> bool:
        """Whether a filter besides the status is set; a status has tabs of its own."""
        return bool(set(self.active) - {"status"})

    @property
    def start(self) -> datetime | None:
        return start_of(self.since, zone_of(self.zone)) if self.since else None

    @property
    def end(self) -> datetime | None:
        """The first moment after the last day."""
        return start_of(self.until + timedelta(days=1), zone_of(self.zone)) if self.until else None


def _clean(typed: str) -> str:
    kept = "".join(c if c.isprintable() else " " for c in typed[:_MAX_QUERY_CHARS])
    return " ".join(kept.split())


def _number(typed: str, low: int, high: int) -> int | None:
    typed = typed.strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) < 11):
        return None
    return int(typed) if low <= int(typed) <= high else None
