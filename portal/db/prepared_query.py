"""Questions that are asked with every sign-up and every message, put into words once; see ``swift.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .prepared import Swift
from .transaction import present, present_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Executable
    from sqlalchemy.engine import Dialect


class Question(Swift):
    """One question, asked often. It is asked past the session: no object is made, and none flushed."""

    def __init__(self, statement: Executable) -> None:
        super().__init__(statement)
        self._readers: tuple[Callable[[Any], Any] | None, ...] = ()

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of the answer."""
        transaction = present()
        if transaction.dialect.name != "sqlite":
            return [tuple(row) for row in present_connection().execute(self._statement, values)]
        found = self._rows(transaction, values)
        readers = self._readers = self._readers or _readers_of(self._statement, transaction.dialect)
        return [
            tuple(_read(value, reader) for value, reader in zip(row, readers, strict=True)) for row in found
        ]

    def row(self, **values: Any) -> tuple[Any, ...] | None:
        """Return the first row of the answer."""
        return next(iter(self.rows(**values)), None)


def _read(value: Any, reader: Callable[[Any], Any] | None) -> Any:
    return value if reader is None else reader(value)


def _readers_of(statement: Any, dialect: Dialect) -> tuple[Callable[[Any], Any] | None, ...]:
    """Return what each column has to go through."""
    kinds = [column.type for column in statement.selected_columns]
    return tuple(kind.dialect_impl(dialect).result_processor(dialect, None) for kind in kinds)
