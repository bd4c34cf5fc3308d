"""Prepared statements: compiled once and run on the driver's cursor, within the current transaction.

Compiling and binding a statement costs several times what SQLite needs to run it, and as much as PostgreSQL needs. The
statements of a sign-up and of the event that it records skip both, and the ORM session; enrolment/signup.py lists them. So
do those of every page, and of the log. SQLAlchemy's events of statements do not include them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Text, any_, bindparam, cast, func, literal, select
from sqlalchemy.dialects import postgresql as postgresql_types
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from . import UTCDateTime, postgresql, sqlite
from .transaction import current_transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy import ColumnElement, Executable
    from sqlalchemy.engine import Dialect

    from .current import CurrentTransaction

_TIMES_KEPT = 256


@dataclass(frozen=True)
class _Compiled:
    sql: str
    defaults: dict[str, Any]  # of the statement's own values, by name
    processors: tuple[tuple[str, Callable[[Any], Any]], ...]  # of the parameters that need one

    def bind(self, values: dict[str, Any]) -> dict[str, Any]:
        bound = {**self.defaults, **values}
        for name, process in self.processors:
            bound[name] = process(bound[name])
        return bound


def any_of(column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of some values.

    A prepared statement cannot have SQLAlchemy's ``in_`` of values, which are written at each run. PostgreSQL reads an index
    to the end for ``or_``, whatever the limit, and not for IN.
    """
    found: ColumnElement[bool] = column.in_([literal(value, column.type) for value in values])
    return found


def ids_in(column: Any, name: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that a column has one of the ids of a parameter, whose value ``bind_ids`` makes.

    Every number of ids is the same statement; SQLAlchemy's ``in_`` writes another one, with a parameter for each.
    """
    if dialect == "postgresql":
        among: ColumnElement[bool] = column == any_(
            cast(bindparam(name, type_=Text()), postgresql_types.ARRAY(BigInteger))
        )
        return among
    listed = func.json_each(bindparam(name, type_=Text())).table_valued("value")
    found: ColumnElement[bool] = column.in_(select(listed.c.value))
    return found


def bind_ids(ids: Collection[int], dialect: str) -> Any:
    """Return the value of the parameter of ``ids_in``."""
    return postgresql.id_array(ids) if dialect == "postgresql" else json.dumps(list(ids))


class PreparedStatement:
    """One statement that runs often. Values are passed by the names of its bind parameters."""

    def __init__(self, statement: Executable) -> None:
        self.statement = statement
        self._compiled: dict[str, _Compiled] = {}  # by the name of the database
        # Index and processor of the columns that need one, by the name of the database.
        self._columns: dict[str, tuple[tuple[int, Callable[[Any], Any]], ...]] = {}

    def rowcount(self, **values: Any) -> int:
        """Run it; return how many rows it changed."""
        return int(self._execute(current_transaction(), values).rowcount)

    def scalar(self, **values: Any) -> Any:
        """Run it; return the first column of the first row, or None. The value is not converted."""
        rows = self._execute(current_transaction(), values).fetchall()
        return rows[0][0] if rows else None

    def all(self, **values: Any) -> list[tuple[Any, ...]]:
        """Run it; return all rows. Those of a textual statement are not converted."""
        transaction = current_transaction()
        cursor = self._execute(transaction, values)
        # Read to the last row: a statement left half-way keeps a transaction of SQLite from ending.
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        columns = self._columns.get(transaction.dialect.name)
        if columns is None:
            columns = self._columns[transaction.dialect.name] = self._processors(transaction.dialect, cursor)
        return [_convert(row, columns) for row in rows] if columns else rows

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """Run it; return the first row, or None."""
        return next(iter(self.all(**values)), None)

    def _execute(self, transaction: CurrentTransaction, values: dict[str, Any]) -> Any:
        """Return the driver's cursor."""
        compiled = self._compile(transaction.dialect)
        database = postgresql if transaction.dialect.name == "postgresql" else sqlite
        return database.execute(transaction, compiled.sql, compiled.bind(values))

    def _compile(self, dialect: Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self.statement, dialect)
        return found

    def _processors(self, dialect: Dialect, cursor: Any) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
        """Return the processors of the columns of a result, by index."""
        found = []
        for index, column in enumerate(getattr(self.statement, "exported_columns", ())):
            process = column.type.dialect_impl(dialect).result_processor(
                dialect, cursor.description[index][1]
            )
            if process is not None:
                found.append((index, process))
        return tuple(found)


def _convert(row: tuple[Any, ...], columns: tuple[tuple[int, Callable[[Any], Any]], ...]) -> tuple[Any, ...]:
    found = list(row)
    for index, process in columns:
        found[index] = process(found[index])
    return tuple(found)


def _compile(statement: Any, dialect: Dialect) -> _Compiled:
    # By name, so that a value that a statement has in several places is bound once.
    named = SQLiteDialect_pysqlite(paramstyle="named") if dialect.name == "sqlite" else dialect
    compiled = statement.compile(dialect=named)
    processors = []
    for name, kind in {name: bound.type for bound, name in compiled.bind_names.items()}.items():
        process = kind.dialect_impl(dialect).bind_processor(dialect)
        if process is not None:
            is_text = dialect.name == "sqlite" and isinstance(kind, UTCDateTime)
            processors.append((name, _time_processor() if is_text else process))
    return _Compiled(str(compiled), compiled.params, tuple(processors))


@cache
def _time_processor() -> Callable[[Any], Any]:
    """Return what makes SQLite's text of a time and remembers it: a transaction writes one time into many columns.

    Equal times have one text, whatever their zones, because the text is in UTC.
    """
    kind, dialect = UTCDateTime(), SQLiteDialect_pysqlite()
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    return lru_cache(maxsize=_TIMES_KEPT)(process or str)
