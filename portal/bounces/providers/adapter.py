"""What a provider's adapter is, the call that it reads, and access to JSON of which nothing is certain."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..meaning import Report

_MAX_ITEMS = 2_000  # of a list


class Forged(Exception):
    """The call has no valid proof that the provider made it."""


class Unreadable(Exception):
    """The body is not what the provider documents."""


@dataclass(frozen=True)
class Call:
    """One POST to a hook. ``headers`` have names in lower case. ``key`` is the one that the owner has entered."""

    body: bytes
    headers: Mapping[str, str]
    key: str
    now: datetime


@dataclass(frozen=True)
class Adapter:
    """A provider. ``verify`` raises Forged; without it the secret in the address is the proof.

    ``read`` yields the reports in a call; it raises Unreadable. Events about opened emails and clicks yield none.
    """

    id: str
    name: str
    read: Callable[[Call], Iterable[Report]]
    verify: Callable[[Call], None] | None = None
    key_name: str = ""  # what the owner enters; empty: nothing
    is_key_secret: bool = True
    is_key: Callable[[str], bool] = bool  # whether a text can be such a key at all
    is_verified_later: bool = False  # by a worker, which fetches the certificate


@dataclass(frozen=True)
class Item:
    """A JSON object. Each method returns an empty value where the object has no such member of that type."""

    data: Mapping[str, Any]

    def item(self, *path: str) -> Item:
        """Return the object at this path."""
        return Item(found if isinstance(found := self._at(path), dict) else {})

    def items(self, *path: str) -> list[Item]:
        """Return the objects of the list at this path."""
        found = self._at(path)
        return (
            [Item(one) for one in found[:_MAX_ITEMS] if isinstance(one, dict)]
            if isinstance(found, list)
            else []
        )

    def text(self, *path: str) -> str:
        """Return the text at this path; a number is written as text, so that long ids stay exact."""
        found = self._at(path)
        if isinstance(found, bool):
            return ""
        return str(found) if isinstance(found, str | int | float) else ""

    def texts(self, *path: str) -> list[str]:
        """Return the texts of the list at this path."""
        found = self._at(path)
        return [one for one in found[:_MAX_ITEMS] if isinstance(one, str)] if isinstance(found, list) else []

    def flag(self, *path: str) -> bool:
        """Return whether there is true at this path."""
        return self._at(path) is True

    def code(self, *path: str) -> int | None:
        """Return the SMTP reply code at this path."""
        found = self.text(*path)
        return int(found) if len(found) == 3 and found.isascii() and found.isdigit() else None

    def seconds(self, *path: str, per_second: int = 1) -> datetime | None:
        """Return the time at this path that is given in seconds since 1970, or in parts of ``per_second`` of one."""
        try:
            return datetime.fromtimestamp(float(self.text(*path)) / per_second, tz=UTC)
        except (ValueError, OverflowError, OSError):
            return None

    def moment(self, *path: str) -> datetime | None:
        """Return the ISO 8601 time at this path, in UTC unless it has a zone."""
        try:
            found = datetime.fromisoformat(self.text(*path)[:40])
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    @property
    def raw(self) -> str:
        """The object as JSON."""
        return json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """A key for an event to which its provider gives no id."""
        canonical = json.dumps(self.data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()

    def _at(self, path: tuple[str, ...]) -> Any:
        found: Any = self.data
        for name in path:
            if not isinstance(found, dict):
                return None
            found = found.get(name)
        return found


def decode(body: bytes) -> Any:
    """Return the JSON of a body. Raises Unreadable."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable from None


def decode_items(body: bytes) -> list[Item]:
    """Return the objects of a body that is a list of them, or one. Raises Unreadable."""
    data = decode(body)
    found = data if isinstance(data, list) else [data]
    if not all(isinstance(one, dict) for one in found):
        raise Unreadable
    return [Item(one) for one in found[:_MAX_ITEMS]]


def decode_item(body: bytes) -> Item:
    """Return the object of a body. Raises Unreadable."""
    data = decode(body)
    if not isinstance(data, dict):
        raise Unreadable
    return Item(data)
