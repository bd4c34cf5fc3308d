"""The database: its session, the base of every table, moments in UTC, and how SQLite and PostgreSQL are set up."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Engine,
    Enum,
    Integer,
    MetaData,
    TypeDecorator,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase

from .stores import READERS

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


@contextmanager
def ahead() -> Iterator[None]:
    """Look things up before a transaction that writes: the block's own stands in nobody's way, and is over with it."""
    engine = db.engines.get(READERS, db.engine)
    with reading(), engine.connect() as connection, connection.begin():
        token = _present.set(_Present(connection))
        try:
            yield
        finally:
            _present.reset(token)


def moment() -> datetime:
    """Return the present moment by the database's clock, as part of the present transaction.

    Leases and what is due are judged by it alone: processes, and machines, whose clocks disagree would
    otherwise take from each other what they hold.
    """
    present = _present.get()
    known = present.moment if present is not None else None
    return known or _ask_clock(present_connection())


@dataclass(frozen=True)
class _Present:
    """A transaction under way, and the moment at which it began, if that was asked for."""

    connection: Connection
    moment: datetime | None = None


_present: ContextVar[_Present | None] = ContextVar("present", default=None)


@contextmanager
def one_moment() -> Iterator[None]:
    """Begin a transaction that is over with the block, asking for its connection and the time only once."""
    connection = db.session.connection()
    token = _present.set(_Present(connection, _ask_clock(connection)))
    try:
        yield
    finally:
        _present.reset(token)


def present_connection() -> Connection:
    """Return the connection of the present transaction."""
    present = _present.get()
    return present.connection if present is not None else db.session.connection()


def _ask_clock(connection: Connection) -> datetime:
    if connection.dialect.name == "postgresql":
        found: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return found.astimezone(UTC)
    cursor = connection.connection.cursor()  # beside SQLAlchemy, for this is asked for every message
    (said,) = cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    cursor.close()
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


def let_go() -> None:
    """Close every connection that nobody uses; whoever needs one opens another."""
    for engine in db.engines.values():
        engine.dispose()


def prepare_engine(engine: Engine, *, wait: float = 15.0) -> None:
    """Set the database up for many processes. ``wait`` is how many seconds one stands in line for another."""
    if engine.dialect.name == "postgresql":
        _prepare_postgresql(engine, wait)
    else:
        _prepare_sqlite(engine, wait)


_LOG_PAGES = 4000  # of 4 kB, after which the write-ahead log is brought into the database
_GLANCE = (0.0002, 0.0006)  # seconds between two looks whether it is one's turn to write
_PATIENCE = 0.25  # seconds that somebody who waits is let go first
_next_here = threading.Lock()  # held by the one thread of this process that looks for its turn


def _prepare_sqlite(engine: Engine, wait: float) -> None:
    """Write-ahead log, waiting instead of failing, full durability."""

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, record: Any) -> None:
        dbapi_connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A confirmed sign-up survives a power cut; see settle_fast for the worker.
        cursor.execute(f"PRAGMA synchronous = {'NORMAL' if engine in _fast else 'FULL'}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # Bringing the log into the database waits for the disk twice. It is left to workers, and is done rarely.
        cursor.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES if engine in _fast else 2 * _LOG_PAGES}")
        # What a statement would have to undo stays in memory; otherwise each transaction makes a file for it.
        cursor.execute("PRAGMA temp_store = MEMORY")
        if engine in _fast:  # a worker changes many rows and none that is large: they are written once
            cursor.execute("PRAGMA cache_spill = OFF")
        cursor.close()
        if engine.url.database:
            # The folder, for it is there, and closing the database's own file would let go of SQLite's locks.
            folder = Path(engine.url.database).absolute().parent
            record.info["turnstile"] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    @event.listens_for(engine, "close")
    def _on_close(_connection: object, record: Any) -> None:
        turnstile = record.info.pop("turnstile", None)
        if turnstile is not None:
            os.close(turnstile)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes, kept = _will_write.get(), connection.info
        cursor = connection.connection.cursor()  # beside SQLAlchemy, for this precedes everything
        try:
            if kept.get("writes") is not writes:
                # A page that writes while it is only looked at would fail now and then; so it always does.
                _said(cursor, f"PRAGMA query_only = {0 if writes else 1}")
                # A writer looks for its turn by itself, below, and needs to wait for nobody afterwards.
                _said(cursor, f"PRAGMA busy_timeout = {0 if writes else int(wait * 1000)}")
                kept["writes"] = writes
            if writes:
                _begin_to_write(cursor, kept.get("turnstile"), wait)
            else:
                _said(cursor, "BEGIN")
        finally:
            cursor.close()


def _begin_to_write(cursor: Any, turnstile: int | None, wait: float) -> None:
    """Take the one writer's turn.

    SQLite's own waiting looks ever less often, up to ten times a second: a sign-up would rarely find the moment
    between two commits of a busy worker. Here whoever is next in this process stands in a turnstile that all
    processes share, and looks often; so a busy worker, too, lets the others go first between two of its commits.
    """
    until = time.monotonic() + wait
    if not _next_here.acquire(timeout=wait):
        raise _locked()
    try:
        with _turnstile(turnstile):
            while not _has_begun(cursor):
                if time.monotonic() >= until:
                    raise _locked()
                time.sleep(random.uniform(*_GLANCE))  # noqa: S311 - spread, not secrecy
    finally:
        _next_here.release()


def _locked() -> OperationalError:
    return OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))


@contextmanager
def _turnstile(folder: int | None) -> Iterator[None]:
    """Stand before all who come later; one who was stopped while standing there is passed by after a while."""
    held = folder is not None and _stands_in(folder)
    try:
        yield
    finally:
        if held and folder is not None:
            fcntl.flock(folder, fcntl.LOCK_UN)


def _stands_in(folder: int) -> bool:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(random.uniform(*_GLANCE))  # noqa: S311 - spread, not secrecy
        else:
            return True
    return False


def _has_begun(cursor: Any) -> bool:
    try:
        _said(cursor, "BEGIN IMMEDIATE")
    except OperationalError as trouble:
        if "locked" not in str(trouble.orig):
            raise
        return False
    return True


def _said(cursor: Any, statement: str) -> None:
    """Say something to SQLite; trouble is raised as SQLAlchemy raises it."""
    try:
        cursor.execute(statement)
    except sqlite3.OperationalError as trouble:
        raise OperationalError(statement, None, trouble) from trouble


_fast: set[Engine] = set()


def settle_fast(engine: Engine) -> None:
    """Let the commits of this process wait for no disk, in SQLite. For workers alone.

    What a worker has committed outlives its death, for the system keeps it; a power cut may take the last
    moments of it, and then messages that were being sent are looked upon as in doubt.
    """
    if engine.dialect.name == "sqlite":
        _fast.add(engine)
        engine.dispose()


def _prepare_postgresql(engine: Engine, wait: float) -> None:
    """Bounded waits, text without NUL, errors without values, transactions that say whether they write."""
    from psycopg.types.string import StrDumperUnknown

    class Dumper(StrDumperUnknown):
        """PostgreSQL takes no NUL, but a server's reply may hold one, and a result must never be refused."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\x00", "\ufffd"))

    milliseconds = int(wait * 1000)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.adapters.register_dumper(str, Dumper)
        dbapi_connection.autocommit = True
        # A process that froze in the middle of a transaction must not keep its locks for ever.
        dbapi_connection.execute(
            f"SET lock_timeout = {milliseconds}; SET statement_timeout = {4 * milliseconds};"
            f"SET idle_in_transaction_session_timeout = {4 * milliseconds}"
        )
        dbapi_connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        raw.read_only = not _will_write.get()  # travels with the driver's BEGIN

    @event.listens_for(engine, "handle_error")
    def _tell_no_values(context: ExceptionContext) -> None:
        # After its first line PostgreSQL quotes the row, and with it names, mailboxes and sealed passwords.
        original = context.original_exception
        first, _, rest = str(original).partition("\n")
        if not rest or not isinstance(original, context.dialect.loaded_dbapi.Error):
            return
        original.args = (first,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {first}",)
