"""PostgreSQL: connections with bounded waits, no NUL in text, errors without values, read-only transactions; arrays."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from . import may_write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection, ExceptionContext
    from sqlalchemy.pool import PoolProxiedConnection

    from .current import CurrentTransaction


def set_up(engine: Engine, *, wait: float = 15.0, autocommit: bool = False) -> None:
    """Prepare the connections of ``engine``. ``wait`` is how many seconds a statement waits for a lock.

    With ``autocommit`` each statement of a raw connection commits itself.
    """
    from psycopg.pq import TransactionStatus
    from psycopg.types.string import StrDumperUnknown

    class Dumper(StrDumperUnknown):
        """Replaces NUL, which PostgreSQL refuses: a server's reply may contain one, and every result must be stored."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\x00", "\ufffd"))

    wait_ms = int(wait * 1000)

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.adapters.register_dumper(str, Dumper)
        dbapi_connection.autocommit = True
        # End the transaction of a frozen process, so that its locks are released. Never compile a statement: the planner
        # assumes much more work than there is where few rows of a large table match, and compiling takes longer than the work.
        dbapi_connection.execute(
            f"SET lock_timeout = {wait_ms}; SET statement_timeout = {4 * wait_ms};"
            f"SET idle_in_transaction_session_timeout = {4 * wait_ms}; SET jit = off"
        )
        dbapi_connection.autocommit = autocommit

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        begin(connection.connection)

    roll_back = engine.dialect.do_rollback

    def end(driver: Any) -> None:
        """Commit where nothing was written: after a ROLLBACK the driver prepares each statement anew."""
        if driver.read_only and driver.pgconn.transaction_status == TransactionStatus.INTRANS:
            driver.commit()
        else:
            roll_back(driver)

    engine.dialect.do_rollback = end  # type: ignore[method-assign, assignment]
    ping = engine.dialect.do_ping

    def is_usable(driver: Any) -> bool:
        """Ask the server only where it has sent something: it announces the end of a connection, as do keepalives."""
        return not _has_received(driver) or ping(driver)

    engine.dialect.do_ping = is_usable  # type: ignore[method-assign, assignment]

    @event.listens_for(engine, "handle_error")
    def _remove_values(context: ExceptionContext) -> None:
        original = context.original_exception
        if not isinstance(original, context.dialect.loaded_dbapi.Error) or not _keep_first_line(original):
            return
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {original}",)


def _has_received(driver: Any) -> bool:
    """Return whether something arrived on an idle connection. Raises the driver's error if it is closed."""
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def begin(driver: PoolProxiedConnection) -> None:
    """Prepare a transaction, whose BEGIN the driver sends with the first statement."""
    connection: Any = driver.dbapi_connection
    connection.read_only = not may_write()


def commit(transaction: CurrentTransaction) -> None:
    """Commit a transaction of ``begin`` without SQLAlchemy. Raises its errors."""
    connection: Any = transaction.driver.dbapi_connection
    try:
        connection.commit()
    except Exception as error:
        raise _as_sqlalchemy_error(error, "COMMIT", transaction) from error


def execute(transaction: CurrentTransaction, statement: str, values: dict[str, Any] | None = None) -> Any:
    """Run a statement without SQLAlchemy. Raises SQLAlchemy's errors, without values.

    Returns the driver's cursor, whose result is to be read before the next statement.
    """
    try:
        return _cursor(transaction.driver).execute(statement, values)
    except Exception as error:
        raise _as_sqlalchemy_error(error, statement, transaction) from error


def _cursor(driver: PoolProxiedConnection) -> Any:
    """Return the connection's cursor for these statements: a new one takes a quarter of the driver's time for a statement."""
    found = driver.info.get("cursor")
    if found is None:
        connection: Any = driver.dbapi_connection
        found = driver.info["cursor"] = connection.cursor()
    return found


def _as_sqlalchemy_error(error: Exception, statement: str, transaction: CurrentTransaction) -> BaseException:
    """Return SQLAlchemy's form of an error of the driver, without values; another error unchanged.

    A connection that was lost is not used again.
    """
    dialect, dbapi_connection = transaction.dialect, transaction.driver.dbapi_connection
    dbapi: Any = dialect.loaded_dbapi
    if not isinstance(error, dbapi.Error):
        return error
    _keep_first_line(error)
    is_lost = dialect.is_disconnect(error, dbapi_connection, None)
    found: BaseException = DBAPIError.instance(
        statement,
        None,
        error,
        dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
    if is_lost:
        (transaction.connection or transaction.driver).invalidate(error)
    return found


def _keep_first_line(error: Exception) -> bool:
    """Shorten the text of an error; return whether it was longer.

    After the first line PostgreSQL quotes the row, which contains names, mailboxes and sealed passwords.
    """
    first, _, rest = str(error).partition("\n")
    if rest:
        error.args = (first,)
    return bool(rest)


def id_array(ids: Iterable[int]) -> str:
    """Return an array as PostgreSQL reads it; the driver would look at each value of a list."""
    return "{" + ",".join(map(str, ids)) + "}"
