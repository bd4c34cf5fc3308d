"""Prepared statements: compiled once and run on the cursor of SQLite's driver, within the current transaction.

Compiling and binding a statement costs several times what SQLite needs to run it. The statements of a sign-up and of the
event that it records skip both, and the ORM session; enrolment/signup.py lists them. PostgreSQL uses SQLAlchemy's
connection, because a round trip to its server costs more than the compilation.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .sqlite import as_sqlalchemy_error
from .transaction import current_connection, current_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Executable
    from sqlalchemy.engine import Dialect

    from .transaction import CurrentTransaction


@dataclass(frozen=True)
class _Compiled:
    sql: str
    parameters: tuple[tuple[str, Any, Callable[[Any], Any] | None], ...]  # name, default, processor
    columns: tuple[Callable[[Any], Any] | None, ...]  # a processor for each; empty: no conversion

    def bind(self, values: dict[str, Any]) -> list[Any]:
        found = []
        for name, default, process in self.parameters:
            value = values.get(name, default)
            found.append(process(value) if process is not None else value)
        return found

    def convert(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.columns:
            return tuple(row)
        return tuple(
            value if process is None else process(value)
            for value, process in zip(row, self.columns, strict=True)
        )


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
        cursor = self._execute(transaction, values)
        try:
            return int(cursor.rowcount)
        finally:
            cursor.close()

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
        cursor = self._execute(transaction, values)
        try:
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def _execute(self, transaction: CurrentTransaction, values: dict[str, Any]) -> Any:
        compiled = self._compile(transaction.dialect)
        cursor: Any = transaction.driver.cursor()
        try:
            cursor.execute(compiled.sql, compiled.bind(values))
        except sqlite3.Error as error:
            cursor.close()
            raise as_sqlalchemy_error(error, compiled.sql) from error
        return cursor

    def _compile(self, dialect: Dialect) -> _Compiled:
        if self._compiled is None:
            self._compiled = _compile(self._statement, dialect)
        return self._compiled


def _compile(statement: Any, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    defaults, parameters = compiled.params, []
    for name in compiled.positiontup:
        kind = compiled.binds[name].type
        parameters.append((name, defaults[name], kind.dialect_impl(dialect).bind_processor(dialect)))
    selected = getattr(statement, "selected_columns", ())
    columns = tuple(column.type.dialect_impl(dialect).result_processor(dialect, None) for column in selected)
    return _Compiled(str(compiled), tuple(parameters), columns)
