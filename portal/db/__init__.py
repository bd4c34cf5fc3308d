"""The database: the ORM session, the base of all tables, read-only transactions, and times in UTC."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Index,
    Integer,
    MetaData,
    Table,
    TextClause,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import insert as _postgresql_insert
from sqlalchemy.dialects.sqlite import insert as _sqlite_insert
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm.attributes import instance_dict, manager_of_class

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

# Alembic on SQLite rebuilds tables, and it can only do so with constraints that have names.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UTCDateTime(TypeDecorator[datetime]):
    """A time with its zone, stored in UTC. Raises ValueError for a naive time, whose zone is unknown."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(naming_convention=_NAMES)
    # 64 bits: an id of more than 32 bits in a URL finds no row instead of raising an error in PostgreSQL.
    type_annotation_map = {datetime: UTCDateTime, int: BigInteger().with_variant(Integer(), "sqlite")}


def enum_column(kind: type[StrEnum], length: int = 12) -> Enum:
    """Return a column type that stores the value of a StrEnum and loads the member."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda k: [m.value for m in k])


def partial_index(condition: TextClause, name: str, *columns: Any, unique: bool = False) -> Index:
    """Return an index over the rows that meet ``condition``; only queries with the same condition use it."""
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


_Row = TypeVar("_Row", bound=Base)
db = SQLAlchemy(metadata=Base.metadata)


def insert(table: type[Base] | Table) -> Any:
    """Return an INSERT with ON CONFLICT, in the dialect of the database. That of a bare table bypasses the ORM."""
    return (_postgresql_insert if db.engine.dialect.name == "postgresql" else _sqlite_insert)(table)


def new_row(kind: type[_Row], values: dict[str, Any]) -> _Row:
    """Return a new object that is not stored yet, with these attributes.

    As its constructor, which calls the ORM's listeners for each attribute and takes longer than the INSERT; methods
    marked with ``validates`` do not run.
    """
    row: _Row = manager_of_class(kind).new_instance()
    instance_dict(row).update(values)
    return row


# Whether the next transaction may write. A SQLite transaction that first reads and then writes fails at once if
# another one wrote in between, whatever the busy timeout; one that takes the write lock first waits for its turn.
_may_write: ContextVar[bool] = ContextVar("may_write", default=True)


def set_may_write(*, allowed: bool) -> None:
    """Set whether the next transactions of this thread may write; those of a safe HTTP method may not."""
    _may_write.set(allowed)


def may_write() -> bool:
    """Return whether the next transaction may write."""
    return _may_write.get()


@contextmanager
def read_only() -> Iterator[None]:
    """Run a block whose transactions only read, so that they never wait for writers."""
    token = _may_write.set(False)
    try:
        yield
    finally:
        _may_write.reset(token)


@contextmanager
def read_write() -> Iterator[None]:
    """Run a block whose transactions may write, even within a request that otherwise only reads."""
    token = _may_write.set(True)
    try:
        yield
    finally:
        _may_write.reset(token)


def close_connections() -> None:
    """Close all idle connections; the next use opens others."""
    for engine in db.engines.values():
        engine.dispose()
