"""The transaction in progress, as the modules of the two databases and of the prepared statements see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime

    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.pool import PoolProxiedConnection


@dataclass
class CurrentTransaction:
    """A transaction in progress. A raw one has no ``connection`` of SQLAlchemy's.

    ``began_at`` is its time by the database's clock, once that was read. ``after_commit`` holds what a raw
    transaction runs after its commit, each key once.
    """

    dialect: Dialect
    driver: PoolProxiedConnection
    connection: Connection | None = None
    began_at: datetime | None = None
    after_commit: dict[Hashable, Callable[[], object]] = field(default_factory=dict)
