"""What is asked of the log: read from the address, written back into it. No HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..notices.catalogue import CATALOGUE
from ..outbox.models import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 300  # characters that are searched for
_WANTED = {
    "code": "A reply code is a number from 200 to 599, such as 550.",
    "version": "A version is a whole number, such as 3.",
    "since": "Write the day like 2026-11-30.",
    "until": "Write the day like 2026-11-30.",
}


class By(StrEnum):
    """Where is searched. AUTO decides by what was typed."""

    AUTO = ""
    RECIPIENT = "recipient"
    SUBJECT = "subject"
    IDENT = "id"


@dataclass(frozen=True)
class Filters:
    """What the owner wants to see. Days are whole days in UTC, both included."""

    q: str = ""
    by: By = By.AUTO
    status: Status | None = None
    kind: str = ""
    code: int | None = None
    version: int | None = None
    since: date | None = None
    until: date | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Filters:
        """Read an address. What means nothing is left out, and ``misread`` tells of it."""
        kind, by, status = (args.get(name, "") for name in ("kind", "by", "status"))
        return cls(
            q=_clean(args.get("q", "")),
            by=By(by) if by in set(By) else By.AUTO,
            status=Status(status) if status in set(Status) else None,
            kind=kind if kind in CATALOGUE else "",
            code=_number(args.get("code", ""), 200, 599),
            version=_number(args.get("version", ""), 1, 10**9),
            since=_day(args.get("since", "")),
            until=_day(args.get("until", "")),
        )

    def misread(self, args: Mapping[str, str]) -> dict[str, str]:
        """Say of each field in which something unusable was typed what it takes."""
        wrong = {
            name: words
            for name, words in _WANTED.items()
            if args.get(name, "").strip() and getattr(self, name) is None
        }
        if self.since and self.until and self.until < self.since:
            wrong["until"] = "This day is before the first one, so no email can match."
        return wrong

    def query(self) -> dict[str, Any]:
        """Return what ``read`` reads, for an address."""
        return {name: str(value) for name, value in asdict(self).items() if value not in (None, "")}

    def without(self, name: str) -> Filters:
        """Return the filters less one; the search goes together with where it searched."""
        gone = ("q", "by") if name == "q" else (name,)
        return replace(self, **{field.name: field.default for field in fields(self) if field.name in gone})  # type: ignore[arg-type]

    @property
    def active(self) -> list[str]:
        """The names of the filters that are set."""
        return [name for name in self.query() if name != "by"]

    @property
    def narrowed(self) -> bool:
        """Whether more is set than a status, which has tabs of its own."""
        return bool(set(self.active) - {"status"})

    @property
    def start(self) -> datetime | None:
        return _midnight(self.since) if self.since else None

    @property
    def end(self) -> datetime | None:
        """The first moment that is not meant any more."""
        return _midnight(self.until) + timedelta(days=1) if self.until else None


def _clean(typed: str) -> str:
    kept = "".join(c if c.isprintable() else " " for c in typed[:_LONGEST])
    return " ".join(kept.split())


def _number(typed: str, low: int, high: int) -> int | None:
    typed = typed.strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) < 11):
        return None
    return int(typed) if low <= int(typed) <= high else None


def _day(typed: str) -> date | None:
    """Years beyond these could not be counted on from."""
    try:
        found = date.fromisoformat(typed.strip())
    except ValueError:
        return None
    return found if 2000 <= found.year <= 2999 else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
