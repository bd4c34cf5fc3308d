"""The database: its session, the base of every table, moments in UTC, and how SQLite is set up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, Engine, Enum, MetaData, TypeDecorator, event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase

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
    type_annotation_map = {datetime: UTCDateTime}


def words(kind: type[StrEnum], length: int = 12) -> Enum:
    """A column type that stores the word of a StrEnum and gives the member back."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda k: [m.value for m in k])


db = SQLAlchemy(metadata=Base.metadata)

# Whether the transaction about to begin may write. A SQLite transaction that starts by reading and
# then writes fails at once when somebody else wrote in between, whatever the busy timeout; one that
# takes the write lock first simply waits its turn.
_will_write: ContextVar[bool] = ContextVar("will_write", default=True)


def will_write(writes: bool) -> None:
    """Say whether the transactions of this thread will write; a request of a safe method will not."""
    _will_write.set(writes)


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


def prepare_engine(engine: Engine, *, wait: float = 15.0) -> None:
    """Set SQLite up for many processes: write-ahead log, waiting instead of failing, full durability.

    ``wait`` is how many seconds a writer stands in line before it gives up.
    """
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a confirmed sign-up survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = _will_write.get()
        # A page that writes while it is only looked at would fail now and then; so it always does.
        connection.exec_driver_sql(f"PRAGMA query_only = {0 if writes else 1}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
