"""Prepared statements: compiled once and run on the cursor of SQLite's driver, within the current transaction.

Compiling and binding a statement costs several times what SQLite needs to run it. The statements of a sign-up and of the
event that it records skip both, and the ORM session; enrolment/signup.py lists them. PostgreSQL uses SQLAlchemy's
connection, because a round trip to its server costs more than the compilation.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from . import UTCDateTime
from .sqlite import as_sqlalchemy_error
from .transaction import current_connection, current_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Executable
    from sqlalchemy.engine import Dialect

    from .transaction import CurrentTransaction

_TIMES_KEPT = 256


@dataclass(frozen=True)
class _Compiled:
    sql: str
    defaults: dict[str, Any]  # of the statement's own values, by name
    processors: tuple[tuple[str, Callable[[Any], Any]], ...]  # of the parameters that need one
    columns: tuple[tuple[int, Callable[[Any], Any]], ...]  # index and processor of those that need one

    def bind(self, values: dict[str, Any]) -> dict[str, Any]:
        bound = {**self.defaults, **values}
        for name, process in self.processors:
            bound[name] = process(bound[name])
        return bound

    def convert(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.columns:
            return row
        found = list(row)
        for index, process in self.columns:
            found[index] = process(found[index])
        return tuple(found)


class PreparedStatement:
    """One statement that runs often. Values are passed by the names of its bind parameters."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: _Compiled | None = None

    def rowcount(self, **values: Any) -> int:
        """Run it; return how many rows it changed."""
        transaction = current_transaction()
        if transaction.dialect.name != "sqlite":
            return int(current_connection().execute(self._statement, values).rowcount)
        return self._execute(transaction, values).rowcount

    def scalar(self, **values: Any) -> Any:
        """Run it; return the first column of the first row, or None. SQLite's value is not converted."""
        transaction = current_transaction()
        if transaction.dialect.name != "sqlite":
            return current_connection().execute(self._statement, values).scalar()
        rows = self._fetch(transaction, values)
        return rows[0][0] if rows else None

    def all(self, **values: Any) -> list[tuple[Any, ...]]:
        """Run it; return all rows. Those of a textual statement are not converted."""
        transaction = current_transaction()
        if transaction.dialect.name != "sqlite":
            return [tuple(row) for row in current_connection().execute(self._statement, values)]
        rows = self._fetch(transaction, values)
        compiled = self._compile(transaction.dialect)
        return [compiled.convert(row) for row in rows]

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """Run it; return the first row, or None."""
        return next(iter(self.all(**values)), None)

    def _fetch(self, transaction: CurrentTransaction, values: dict[str, Any]) -> list[Any]:
        """Read to the last row: a statement left half-way keeps the transaction from ending."""
        return self._execute(transaction, values).fetchall()

    def _execute(self, transaction: CurrentTransaction, values: dict[str, Any]) -> sqlite3.Cursor:
        compiled = self._compile(transaction.dialect)
        # The driver's own object: the one of the pool would pass each call on.
        connection: sqlite3.Connection = transaction.driver.dbapi_connection  # type: ignore[assignment]
        try:
            return connection.execute(compiled.sql, compiled.bind(values))
        except sqlite3.Error as error:
            raise as_sqlalchemy_error(error, compiled.sql) from error

    def _compile(self, dialect: Dialect) -> _Compiled:
        if self._compiled is None:
            self._compiled = _compile(self._statement, dialect)
        return self._compiled


def _compile(statement: Any, dialect: Dialect) -> _Compiled:
    # By name, so that a value that a statement has in several places is bound once.
    compiled = statement.compile(dialect=SQLiteDialect_pysqlite(paramstyle="named"))
    processors = []
    for name, kind in {name: bound.type for bound, name in compiled.bind_names.items()}.items():
        process = kind.dialect_impl(dialect).bind_processor(dialect)
        if process is not None:
            processors.append((name, _time_processor() if isinstance(kind, UTCDateTime) else process))
    columns = []
    for index, column in enumerate(getattr(statement, "selected_columns", ())):
        process = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if process is not None:
            columns.append((index, process))
    return _Compiled(str(compiled), compiled.params, tuple(processors), tuple(columns))


@cache
def _time_processor() -> Callable[[Any], Any]:
    """Return what makes SQLite's text of a time and remembers it: a transaction writes one time into many columns.

    Equal times have one text, whatever their zones, because the text is in UTC.
    """
    kind, dialect = UTCDateTime(), SQLiteDialect_pysqlite()
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    return lru_cache(maxsize=_TIMES_KEPT)(process or str)
