"""Connection set-up of SQLite for many processes: write-ahead log, durability, and a queue for its one writer."""

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

from ..tuning import Tuning
from . import may_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection
    from sqlalchemy.pool import PoolProxiedConnection

    from .current import CurrentTransaction

_CHECKPOINT_PAGES = 4000  # of 4 kB in the write-ahead log, after which they are moved into the database
_next_writer = threading.Lock()  # held by the one thread of this process that tries to begin writing
_relaxed: set[Engine] = set()  # engines whose commits do not wait for the disk


def set_up(engine: Engine, *, wait: float = 15.0) -> None:
    """Prepare the connections of ``engine``. ``wait`` is how many seconds a transaction waits for a lock."""

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, record: Any) -> None:
        dbapi_connection.isolation_level = None  # the driver's own BEGIN comes too late; ``begin`` sends it
        cursor = dbapi_connection.cursor()
        relaxed = engine in _relaxed
        cursor.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A confirmed sign-up survives a power cut; for the worker see use_relaxed_durability.
        cursor.execute(f"PRAGMA synchronous = {'NORMAL' if relaxed else 'FULL'}")
        cursor.execute("PRAGMA foreign_keys = ON")
        # A checkpoint waits for the disk twice. It is rare, and mostly left to workers.
        cursor.execute(
            f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES if relaxed else 2 * _CHECKPOINT_PAGES}"
        )
        # Keep statement journals in memory; otherwise each transaction makes a file for them.
        cursor.execute("PRAGMA temp_store = MEMORY")
        if relaxed:  # a worker changes many small rows: write each page once, at commit
            cursor.execute("PRAGMA cache_spill = OFF")
        cursor.close()
        record.info["wait"] = wait
        if engine.url.database:
            # Lock the folder: closing a descriptor of the database's own file would release SQLite's locks.
            folder = Path(engine.url.database).absolute().parent
            record.info["write_queue"] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)

    @event.listens_for(engine, "close")
    def _on_close(_connection: object, record: Any) -> None:
        write_queue = record.info.pop("write_queue", None)
        if write_queue is not None:
            os.close(write_queue)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        begin(connection.connection)


def use_relaxed_durability(engine: Engine) -> None:
    """Let commits of this process not wait for the disk; no effect on other databases. For workers only.

    What a worker committed survives its crash, because the operating system has it. A power cut may undo the last
    commits; the messages concerned then count as possibly delivered.
    """
    if engine.dialect.name == "sqlite":
        _relaxed.add(engine)
        engine.dispose()


def begin(driver: PoolProxiedConnection) -> None:
    """Begin a transaction; one that may write waits in the write queue first. Raises OperationalError."""
    writes, info = may_write(), driver.info
    cursor = driver.cursor()  # not SQLAlchemy's: this runs before its transaction begins
    try:
        if info.get("writes") is not writes:
            _choose_mode(cursor, info, writes=writes)
        if writes:
            _begin_write(cursor, info.get("write_queue"), info["wait"])
        else:
            _execute(cursor, "BEGIN")
    finally:
        cursor.close()


def only_read(driver: PoolProxiedConnection) -> None:
    """Prepare a connection for statements that read without a transaction around them. Raises OperationalError."""
    if driver.info.get("writes") is not False:
        cursor = driver.cursor()
        try:
            _choose_mode(cursor, driver.info, writes=False)
        finally:
            cursor.close()


def _choose_mode(cursor: Any, info: dict[str, Any], *, writes: bool) -> None:
    # Without query_only, a view that writes in a read-only transaction would fail only now and then.
    _execute(cursor, f"PRAGMA query_only = {0 if writes else 1}")
    # A writer polls by itself, in _begin_write, and waits for nothing afterwards.
    _execute(cursor, f"PRAGMA busy_timeout = {0 if writes else int(info['wait'] * 1000)}")
    info["writes"] = writes


def commit(driver: PoolProxiedConnection) -> None:
    """Commit a transaction of ``begin`` without SQLAlchemy."""
    cursor = driver.cursor()
    try:
        _execute(cursor, "COMMIT")
    finally:
        cursor.close()


def execute(transaction: CurrentTransaction, statement: str, values: dict[str, Any]) -> Any:
    """Run a statement without SQLAlchemy; return the driver's cursor. Raises SQLAlchemy's errors, without values."""
    connection: Any = transaction.driver.dbapi_connection  # the one of the pool would pass each call on
    try:
        return connection.execute(statement, values)
    except sqlite3.Error as error:
        raise _as_sqlalchemy_error(error, statement) from error


def _begin_write(cursor: Any, write_queue: int | None, wait: float) -> None:
    """Begin a transaction that writes, after those that began to wait earlier.

    SQLite's busy handler polls less and less often, down to ten times a second, so a sign-up would seldom find the gap
    between two commits of a busy worker. Here one thread of each process at a time waits in a queue that all processes
    share, and polls often. A busy worker queues as well between two of its commits.
    """
    deadline = time.monotonic() + wait
    if not _next_writer.acquire(timeout=wait):
        raise _locked()
    try:
        with _write_queue(write_queue):
            while not _try_begin(cursor):
                if time.monotonic() >= deadline:
                    raise _locked()
                time.sleep(random.uniform(*Tuning.write_poll_s))  # noqa: S311 - jitter, not secrecy
    finally:
        _next_writer.release()


def _locked() -> OperationalError:
    return OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))


@contextmanager
def _write_queue(folder: int | None) -> Iterator[None]:
    """Hold the head of the write queue. After ``Tuning.write_queue_wait_s`` a frozen process at its head is passed."""
    held = folder is not None and _lock_queue(folder)
    try:
        yield
    finally:
        if held and folder is not None:
            fcntl.flock(folder, fcntl.LOCK_UN)


def _lock_queue(folder: int) -> bool:
    deadline = time.monotonic() + Tuning.write_queue_wait_s
    while time.monotonic() < deadline:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(random.uniform(*Tuning.write_poll_s))  # noqa: S311 - jitter, not secrecy
        else:
            return True
    return False


def _try_begin(cursor: Any) -> bool:
    try:
        _execute(cursor, "BEGIN IMMEDIATE")
    except OperationalError as error:
        if "locked" not in str(error.orig):
            raise
        return False
    return True


def _execute(cursor: Any, statement: str) -> None:
    try:
        cursor.execute(statement)
    except sqlite3.Error as error:
        raise _as_sqlalchemy_error(error, statement) from error


def _as_sqlalchemy_error(error: Exception, statement: str) -> BaseException:
    """Return the error that SQLAlchemy raises for an error of SQLite's driver, without the values of the statement."""
    return DBAPIError.instance(statement, None, error, sqlite3.Error)
