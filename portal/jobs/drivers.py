"""Huey without the drivers of job stores that are not in use.

``huey.storage`` imports psycopg and redis wherever they are installed, which together hold some megabytes in every process.
This module imports Huey without them, and hands it the driver of the store that the configuration names. All other modules
of the portal import what they need of Huey from here.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Huey",
    "Message",
    "PostgresStorage",
    "RedisStorage",
    "Registry",
    "Serializer",
    "SqliteStorage",
    "load_postgresql",
    "load_redis",
]


@contextmanager
def _not_installed(*names: str) -> Iterator[None]:
    """Let imports of these packages fail within the block, except for those that are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # makes an import of it raise ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _not_installed("psycopg", "redis"):
    from huey import Huey, storage
    from huey.registry import Message, Registry
    from huey.serializer import Serializer
    from huey.storage import PostgresStorage, RedisStorage, SqliteStorage


def load_postgresql() -> None:
    """Let ``PostgresStorage`` use psycopg."""
    storage.psycopg = import_module("psycopg")


def load_redis() -> None:
    """Let ``RedisStorage`` use redis. Raises ImportError if that is not installed."""
    redis, errors = import_module("redis"), import_module("redis.exceptions")
    storage.ConnectionPool, storage.Redis = redis.ConnectionPool, redis.Redis
    storage.ConnectionError, storage.TimeoutError = errors.ConnectionError, errors.TimeoutError
    RedisStorage.redis_client = redis.Redis
