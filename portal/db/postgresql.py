"""PostgreSQL: connections with bounded waits, no NUL in text, errors without values, read-only transactions; arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from . import may_write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection, ExceptionContext


def set_up(engine: Engine, *, wait: float = 15.0, autocommit: bool = False) -> None:
    """Prepare the connections of ``engine``. ``wait`` is how many seconds a statement waits for a lock.

    With ``autocommit`` each statement of a raw connection commits itself.
    """
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
        # End the transaction of a frozen process, so that its locks are released.
        dbapi_connection.execute(
            f"SET lock_timeout = {wait_ms}; SET statement_timeout = {4 * wait_ms};"
            f"SET idle_in_transaction_session_timeout = {4 * wait_ms}"
        )
        dbapi_connection.autocommit = autocommit

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        raw.read_only = not may_write()  # sent with the driver's BEGIN

    @event.listens_for(engine, "handle_error")
    def _remove_values(context: ExceptionContext) -> None:
        # After the first line PostgreSQL quotes the row, which contains names, mailboxes and sealed passwords.
        original = context.original_exception
        first, _, rest = str(original).partition("\n")
        if not rest or not isinstance(original, context.dialect.loaded_dbapi.Error):
            return
        original.args = (first,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {first}",)


def id_array(ids: Iterable[int]) -> str:
    """Return an array as PostgreSQL reads it; the driver would look at each value of a list."""
    return "{" + ",".join(map(str, ids)) + "}"
