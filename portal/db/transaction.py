"""The present transaction: its connection, its moment by the database's clock, and transactions past the session.

SQLAlchemy keeps books on objects and events. Where a transaction knows of none, as that of a sign-up, the books cost
more than all of its statements. So in SQLite it may go past them: ``ahead`` and ``past_session`` hand BEGIN and COMMIT
to the driver, as ``outbox/swift.py`` hands it the statements in between.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import db, dialects, reading
from .urls import READERS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sqlalchemy import Engine
    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.pool import PoolProxiedConnection


@dataclass
class Present:
    """A transaction under way. ``moment`` is when it began, if that was asked for.

    Past the session there is no ``connection`` of SQLAlchemy's, but ``after_commit``: what is done then, once each.
    """

    dialect: Dialect
    driver: PoolProxiedConnection
    connection: Connection | None = None
    moment: datetime | None = None
    after_commit: dict[Hashable, Callable[[], object]] = field(default_factory=dict)


_present: ContextVar[Present | None] = ContextVar("present", default=None)


@contextmanager
def ahead() -> Iterator[None]:
    """Look things up before a transaction that writes: the block's own stands in nobody's way, and is over with it."""
    engine = db.engines.get(READERS, db.engine)
    with reading():
        if engine.dialect.name == "sqlite":
            with _bare(engine) as transaction, _is(transaction):
                yield
        else:
            with engine.connect() as connection, connection.begin(), _is(_of(connection)):
                yield


@contextmanager
def past_session() -> Iterator[Present]:
    """Begin a transaction in SQLite that the session knows nothing of; it commits with the block's good end."""
    with _bare(db.engine) as transaction:
        transaction.moment = _ask_clock(transaction)
        with _is(transaction):
            yield transaction
    for deed in transaction.after_commit.values():
        deed()


@contextmanager
def in_session() -> Iterator[Present]:
    """Begin the session's transaction, asking for its connection and the time only once; it commits as the other."""
    transaction = _of(db.session.connection())
    transaction.moment = _ask_clock(transaction)
    with _is(transaction):
        yield transaction
        db.session.commit()


def moment() -> datetime:
    """Return the present moment by the database's clock, as part of the present transaction.

    Leases and what is due are judged by it alone: processes, and machines, whose clocks disagree would
    otherwise take from each other what they hold.
    """
    transaction = present()
    return transaction.moment or _ask_clock(transaction)


def present() -> Present:
    """Return the present transaction; the session's, which begins with that, where there is no other."""
    return _present.get() or _of(db.session.connection())


def present_connection() -> Connection:
    """Return SQLAlchemy's connection of the present transaction, which is not past the session."""
    connection = present().connection
    if connection is None:
        raise RuntimeError("this transaction is past the session: only swift statements belong into it")
    return connection


def is_past_session() -> bool:
    """Whether the session has no part in the present transaction."""
    transaction = _present.get()
    return transaction is not None and transaction.connection is None


def go_past_session() -> None:
    """Have what the session still keeps to itself written, before statements that go past it."""
    if not is_past_session():
        db.session.flush()


def session_has_begun() -> bool:
    """Whether the session has a transaction under way, which another one of this thread would wait for in vain."""
    return db.session.registry.has() and db.session().in_transaction()


@contextmanager
def _is(transaction: Present) -> Iterator[None]:
    token = _present.set(transaction)
    try:
        yield
    finally:
        _present.reset(token)


@contextmanager
def _bare(engine: Engine) -> Iterator[Present]:
    driver = engine.raw_connection()
    try:
        dialects.begin(driver)
        yield Present(engine.dialect, driver)
        dialects.commit(driver)
    finally:
        driver.close()  # back to where it came from, which takes back whatever was not committed


def _of(connection: Connection) -> Present:
    return Present(connection.dialect, connection.connection, connection)


def _ask_clock(transaction: Present) -> datetime:
    if transaction.connection is not None and transaction.dialect.name == "postgresql":
        found: datetime = transaction.connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return found.astimezone(UTC)
    cursor = transaction.driver.cursor()  # beside SQLAlchemy, for this is asked for every message
    (said,) = cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").fetchone()
    cursor.close()
    return datetime.fromisoformat(said).replace(tzinfo=UTC)
