"""Strict reading of TOML data files: a wrong or unknown entry raises an error with file and field."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_Choice = TypeVar("_Choice", bound=StrEnum)


class MalformedData(ValueError):
    """A data file holds an invalid entry; the message names the file and the field."""


class TomlTable:
    """One TOML table with typed access.

    ``reject_unknown_keys`` raises for a key that was not read, so a misspelt key is found.
    """

    def __init__(self, location: str, data: Mapping[str, Any]) -> None:
        self.location = location
        self._data = data
        self._keys_read: set[str] = set()

    def error(self, key: str, reason: str) -> MalformedData:
        """Return the error for ``key``; the caller raises it."""
        return MalformedData(f"{self.location}: {key}: {reason}")

    def _read(self, key: str) -> Any:
        self._keys_read.add(key)
        return self._data.get(key)

    def optional_text(self, key: str) -> str | None:
        """Return a non-empty string, or None when the key is absent."""
        value = self._read(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a non-empty text")
        return value

    def text(self, key: str) -> str:
        """Return a non-empty string."""
        value = self.optional_text(key)
        if value is None:
            raise self.error(key, "is missing")
        return value

    def texts(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """Return a list of non-empty strings; a single string counts as a list of one."""
        value = self._read(key)
        if isinstance(value, str):
            value = [value]
        if value is None and not required:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.error(key, "must be a list of non-empty texts")
        if required and not value:
            raise self.error(key, "must not be empty")
        return tuple(value)

    def number(self, key: str) -> int:
        """Return a whole number."""
        value = self._read(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, "must be a whole number")
        return value

    def optional_date(self, key: str) -> date | None:
        """Return a date without a time, or None when the key is absent."""
        value = self._read(key)
        if value is None:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.error(key, "must be a date such as 2026-11-29, without quotation marks")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean, or ``default`` when the key is absent."""
        value = self._read(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def choice(self, key: str, kind: type[_Choice]) -> _Choice:
        """Return a member of an enumeration."""
        value = self.text(key)
        try:
            return kind(value)
        except ValueError:
            raise self.error(key, f"{value!r} is none of {', '.join(kind)}") from None

    def choices(self, key: str, kind: type[_Choice]) -> tuple[_Choice, ...]:
        """Return members of an enumeration."""
        try:
            return tuple(kind(value) for value in self.texts(key))
        except ValueError as error:
            raise self.error(key, str(error)) from None

    def table(self, key: str, *, required: bool = False) -> TomlTable:
        """Return a sub-table; an empty one if it is absent and not required."""
        value = self._read(key)
        if value is None and not required:
            value = {}
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return TomlTable(f"{self.location}: {key}", value)

    def tables(self, key: str, *, required: bool = False) -> tuple[TomlTable, ...]:
        """Return a list of sub-tables."""
        value = self._read(key)
        if value is None and not required:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.error(key, "must be a list of tables")
        if required and not value:
            raise self.error(key, "must not be empty")
        return tuple(TomlTable(f"{self.location}: {key}[{at}]", one) for at, one in enumerate(value))

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def reject_unknown_keys(self) -> None:
        """Raise MalformedData for a key that was not read."""
        unknown = sorted(set(self._data) - self._keys_read)
        if unknown:
            raise self.error(unknown[0], "is not a known field")


def read_toml(path: Path, *, name: str = "") -> TomlTable:
    """Return the top-level table of a file. ``name`` is used in errors; the default is the file's name.

    Raises:
        MalformedData: the file is not UTF-8 or not TOML.
    """
    name = name or path.name
    try:
        return TomlTable(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedData(f"{name}: {error}") from error
