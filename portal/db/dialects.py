"""How SQLite and PostgreSQL are set up for many processes: waits with an end, turns to write, durability."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from . import may_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.pool import PoolProxiedConnection

_LOG_PAGES = 4000  # of 4 kB, after which the write-ahead log is brought into the database
_GLANCE = (0.0002, 0.0006)  # seconds between two looks whether it is one's turn to write
_PATIENCE = 0.25  # seconds that somebody who waits is let go first
_next_here = threading.Lock()  # held by the one thread of this process that looks for its turn
_fast: set[Engine] = set()  # whose commits wait for no disk


def prepare(engine: Engine, *, wait: float = 15.0) -> None:
    """Set the database up for many processes. ``wait`` is how many seconds one stands in line for another."""
    if engine.dialect.name == "postgresql":
        _prepare_postgresql(engine, wait)
    else:
        _prepare_sqlite(engine, wait)


def settle_fast(engine: Engine) -> None:
    """Let the commits of this process wait for no disk, in SQLite. For workers alone.

    What a worker has committed outlives its death, for the system keeps it; a power cut may take the last
    moments of it, and then messages that were being sent are looked upon as in doubt.
    """
    if engine.dialect.name == "sqlite":
        _fast.add(engine)
        engine.dispose()


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
        record.info["wait"] = wait
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
        begin(connection.connection)


def begin(driver: PoolProxiedConnection) -> None:
    """Begin a transaction in SQLite: one that writes waits for its turn first."""
    writes, kept = may_write(), driver.info
    cursor = driver.cursor()  # beside SQLAlchemy, for this precedes everything
    try:
        if kept.get("writes") is not writes:
            # A page that writes while it is only looked at would fail now and then; so it always does.
            _said(cursor, f"PRAGMA query_only = {0 if writes else 1}")
            # A writer looks for its turn by itself, below, and needs to wait for nobody afterwards.
            _said(cursor, f"PRAGMA busy_timeout = {0 if writes else int(kept['wait'] * 1000)}")
            kept["writes"] = writes
        if writes:
            _begin_to_write(cursor, kept.get("turnstile"), kept["wait"])
        else:
            _said(cursor, "BEGIN")
    finally:
        cursor.close()


def commit(driver: PoolProxiedConnection) -> None:
    """Commit a transaction that was begun so, past SQLAlchemy."""
    cursor = driver.cursor()
    try:
        _said(cursor, "COMMIT")
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
    """Say something to SQLite."""
    try:
        cursor.execute(statement)
    except sqlite3.Error as trouble:
        raise as_sqlalchemy(trouble, statement) from trouble


def as_sqlalchemy(trouble: Exception, statement: str) -> BaseException:
    """Return an error of SQLite's driver as SQLAlchemy raises it, without the values of the statement."""
    return DBAPIError.instance(statement, None, trouble, sqlite3.Error)


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
        raw.read_only = not may_write()  # travels with the driver's BEGIN

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
