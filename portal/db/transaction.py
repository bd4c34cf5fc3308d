"""The current transaction: its connection, the database's clock, and raw transactions without the ORM session.

The session's bookkeeping of objects and events costs more than the statements of a short transaction, such as a
sign-up or an event of the API. ``raw_transaction`` therefore sends BEGIN and COMMIT to the driver itself, and
``prepared.PreparedStatement`` sends the statements in between.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import db, postgresql, read_only, sqlite
from .current import CurrentTransaction
from .urls import READ_ONLY_BIND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection


_current: ContextVar[CurrentTransaction | None] = ContextVar("current_transaction", default=None)


@contextmanager
def read_snapshot() -> Iterator[None]:
    """Run a block in a read-only transaction of its own, which delays no writer and ends with the block."""
    engine = db.engines.get(READ_ONLY_BIND, db.engine)
    with read_only(), engine.connect() as connection, connection.begin(), _set_current(_of(connection)):
        yield


@contextmanager
def separate_reads() -> Iterator[None]:
    """Run a block whose prepared statements read without a transaction around them, each the state at its own moment.

    For one statement that reads all that belongs together: BEGIN and COMMIT would cost as much as that statement. On
    PostgreSQL it is ``read_snapshot``. A block must not begin another transaction, whose connection it might wait for.
    """
    engine = db.engines.get(READ_ONLY_BIND)
    if engine is None:
        with read_snapshot():
            yield
        return
    driver = engine.raw_connection()
    try:
        sqlite.only_read(driver)
        with _set_current(CurrentTransaction(engine.dialect, driver)):
            yield
    finally:
        driver.close()


@contextmanager
def raw_transaction() -> Iterator[CurrentTransaction]:
    """Run a block in a transaction without the session. Commits, then runs ``after_commit``."""
    with _raw(db.engine) as transaction, _set_current(transaction):
        yield transaction
    for callback in transaction.after_commit.values():
        callback()


def short_transaction() -> AbstractContextManager[CurrentTransaction]:
    """Return a raw transaction; the session's, if that has begun one already: a second one would wait for it. Commits."""
    return session_transaction() if session_in_transaction() else raw_transaction()


@contextmanager
def session_transaction() -> Iterator[CurrentTransaction]:
    """Run a block in the session's transaction, with its connection and start time looked up once. Commits."""
    transaction = _of(db.session.connection())
    transaction.began_at = _read_clock(transaction)
    with _set_current(transaction):
        yield transaction
        db.session.commit()


def db_now() -> datetime:
    """Return the time by the database's clock, within the current transaction.

    Leases and due times use this clock alone. Processes and machines whose own clocks differ would otherwise take
    each other's claims.
    """
    transaction = current_transaction()
    if transaction.began_at is None:
        transaction.began_at = _read_clock(transaction)
    return transaction.began_at


def current_transaction() -> CurrentTransaction:
    """Return the transaction in progress; by default the session's, which this begins."""
    return _current.get() or _of(db.session.connection())


def current_dialect() -> str:
    """Return the name of the database, "sqlite" or "postgresql", faster than by the engine where a transaction is raw."""
    transaction = _current.get()
    return transaction.dialect.name if transaction is not None else db.engine.dialect.name


def current_connection() -> Connection:
    """Return SQLAlchemy's connection of the current transaction. Raises RuntimeError in a raw transaction."""
    connection = current_transaction().connection
    if connection is None:
        raise RuntimeError("raw transaction: use PreparedStatement, the ORM session is not available")
    return connection


def is_raw() -> bool:
    """Return whether the current transaction is raw."""
    transaction = _current.get()
    return transaction is not None and transaction.connection is None


def flush_session() -> None:
    """Write the session's pending changes, before prepared statements that depend on them."""
    if not is_raw():
        db.session.flush()


def session_in_transaction() -> bool:
    """Return whether the session of this thread has a transaction in progress; a second one would wait for it."""
    return db.session.registry.has() and db.session().in_transaction()


@contextmanager
def _set_current(transaction: CurrentTransaction) -> Iterator[None]:
    token = _current.set(transaction)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def _raw(engine: Engine) -> Iterator[CurrentTransaction]:
    driver = engine.raw_connection()
    transaction = CurrentTransaction(engine.dialect, driver)
    try:
        if engine.dialect.name == "postgresql":
            postgresql.begin(driver)
            yield transaction
            postgresql.commit(transaction)
        else:
            sqlite.begin(driver)
            yield transaction
            sqlite.commit(driver)
    finally:
        driver.close()  # returns it to the pool, which rolls back what was not committed


def _of(connection: Connection) -> CurrentTransaction:
    return CurrentTransaction(connection.dialect, connection.connection, connection)


def _read_clock(transaction: CurrentTransaction) -> datetime:
    if transaction.dialect.name == "postgresql":
        (now,) = postgresql.execute(transaction, "SELECT clock_timestamp()").fetchone()
        found: datetime = now.astimezone(UTC)
        return found
    cursor = transaction.driver.cursor()  # without SQLAlchemy: this runs for every message
    (text,) = cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    cursor.close()
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
