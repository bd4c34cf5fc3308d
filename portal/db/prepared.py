"""Statements that are sent for every message: put into words once, and handed to SQLite's driver as they are.

To compile, bind and wrap each of them anew costs several times what SQLite needs for it. In PostgreSQL, where the
way there costs more than all of that, they go the usual way.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite

from . import UTCDateTime
from .dialects import as_sqlalchemy
from .transaction import Present, present, present_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Executable
    from sqlalchemy.engine import Dialect

_SQLITE = sqlite.dialect()


def said_to_sqlite(at: datetime) -> str:
    """Return a moment in the words in which SQLite keeps it."""
    return str(_moment(at))


_moment: Any = UTCDateTime().dialect_impl(_SQLITE).bind_processor(_SQLITE)


def part_of_row(place: int) -> str:
    """Return, in SQLite's words, one value of a row ``r`` that came with others as ``json_each(:rows) AS r``."""
    return f"json_extract(r.value, '$[{place}]')"


@dataclass(frozen=True)
class _Words:
    """A statement in SQLite's words, with what each of its values has to go through."""

    text: str
    values: tuple[
        tuple[str, Any, Callable[[Any], Any] | None], ...
    ]  # name, the value unless told, a processor

    def bound(self, told: dict[str, Any]) -> list[Any]:
        found = []
        for name, usual, process in self.values:
            value = told.get(name, usual)
            found.append(process(value) if process is not None else value)
        return found


class Swift:
    """One statement, sent often."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._words: _Words | None = None

    def changes(self, values: dict[str, Any]) -> int:
        """Run it; return how many rows it changed."""
        transaction = present()
        if transaction.dialect.name != "sqlite":
            return int(present_connection().execute(self._statement, values).rowcount)
        cursor = self._sent(transaction, values)
        try:
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def scalar(self, values: dict[str, Any]) -> Any:
        """Run it; return the first column of its first row, a plain number or None."""
        transaction = present()
        if transaction.dialect.name != "sqlite":
            return present_connection().execute(self._statement, values).scalar()
        rows = self._rows(transaction, values)  # to the end: what is left half-way holds the transaction up
        return rows[0][0] if rows else None

    def told(self, values: dict[str, Any]) -> list[Any]:
        """Run it in SQLite; return all rows, of plain numbers and words."""
        return self._rows(present(), values)

    def _rows(self, transaction: Present, values: dict[str, Any]) -> list[Any]:
        cursor = self._sent(transaction, values)
        try:
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def _sent(self, transaction: Present, values: dict[str, Any]) -> Any:
        words = self._words = self._words or _words_of(self._statement, transaction.dialect)
        cursor: Any = transaction.driver.cursor()
        try:
            cursor.execute(words.text, words.bound(values))
        except sqlite3.Error as trouble:
            cursor.close()
            raise as_sqlalchemy(trouble, words.text) from trouble
        return cursor


def _words_of(statement: Any, dialect: Dialect) -> _Words:
    compiled = statement.compile(dialect=dialect)
    usual, found = compiled.params, []
    for name in compiled.positiontup:
        kind = compiled.binds[name].type
        found.append((name, usual[name], kind.dialect_impl(dialect).bind_processor(dialect)))
    return _Words(str(compiled), tuple(found))
