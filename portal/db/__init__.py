"""The database: its session, the base of every table, who may write, and moments in UTC."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Index,
    Integer,
    MetaData,
    TextClause,
    TypeDecorator,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

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
    """An aware moment, stored in UTC. A naive one is refused, for nobody knows what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(naming_convention=_NAMES)
    # Whoever asks for a number beyond 32 bits in an address finds nothing; PostgreSQL shall not stumble over it.
    type_annotation_map = {datetime: UTCDateTime, int: BigInteger().with_variant(Integer(), "sqlite")}


def words(kind: type[StrEnum], length: int = 12) -> Enum:
    """A column type that stores the word of a StrEnum and gives the member back."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda k: [m.value for m in k])


def index_of(known: TextClause, name: str, *columns: Any, unique: bool = False) -> Index:
    """Return an index over those rows alone of which ``known`` is true; queries have to say so in the same words."""
    return Index(name, *columns, unique=unique, sqlite_where=known, postgresql_where=known)


db = SQLAlchemy(metadata=Base.metadata)


def insert(table: type[Base]) -> Any:
    """Return an INSERT that knows ON CONFLICT, in the dialect at hand."""
    return (postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert)(table)


# Whether the transaction about to begin may write. A SQLite transaction that starts by reading and
# then writes fails at once when somebody else wrote in between, whatever the busy timeout; one that
# takes the write lock first simply waits its turn.
_will_write: ContextVar[bool] = ContextVar("will_write", default=True)


def will_write(writes: bool) -> None:
    """Say whether the transactions of this thread will write; a request of a safe method will not."""
    _will_write.set(writes)


def may_write() -> bool:
    """Whether the transaction about to begin may write."""
    return _will_write.get()


@contextmanager
def reading() -> Iterator[None]:
    """Run a block whose transactions only read, so that readers never queue behind writers."""
    token = _will_write.set(False)
    try:
        yield
    finally:
        _will_write.reset(token)


@contextmanager
def writing() -> Iterator[None]:
    """Run a block whose transactions write, even within a request that otherwise only reads."""
    token = _will_write.set(True)
    try:
        yield
    finally:
        _will_write.reset(token)


def disconnect() -> None:
    """Close every connection that nobody uses; whoever needs one opens another."""
    for engine in db.engines.values():
        engine.dispose()
