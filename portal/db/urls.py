"""Where things are kept: the tables in SQLite or PostgreSQL, and the announcements of work beside them or in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..env import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# Connections to SQLite that only ever read: one that is told to write again forgets the statements it has prepared.
READERS = "readers"
_POSTGRESQL = "postgresql+psycopg"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": _POSTGRESQL,
    "postgresql": _POSTGRESQL,
    _POSTGRESQL: _POSTGRESQL,
}
# A server that vanished without a word is noticed within a minute.
_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "application_name": "signet",
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_SHAPE = "Write postgresql://user:password@host/name, or leave it out for SQLite in the instance folder."


def database_url(value: str, instance: Path) -> str:
    """Return the URL as SQLAlchemy takes it; empty means SQLite in ``instance``.

    Raises ConfigError, which never repeats more of the value than its scheme: the rest may hold a password.
    """
    if not value:
        return f"sqlite:///{instance / 'portal.sqlite'}"
    scheme = value.partition("://")[0]
    if scheme not in _DRIVERS:
        named = f"begins with {scheme}://" if "://" in value else "is no URL"
        raise ConfigError(f"DATABASE_URL {named}, which Signet cannot use. {_SHAPE}")
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ConfigError(f"DATABASE_URL cannot be read as a URL. {_SHAPE}") from None
    if not url.database:
        raise ConfigError(f"DATABASE_URL names no database. {_SHAPE}")
    driver = _DRIVERS[scheme]
    return value if driver == "sqlite" else url.set(drivername=driver).render_as_string(hide_password=False)


def redis_url(value: str) -> str:
    """Return the URL of Redis, or nothing. Raises ConfigError without repeating the value."""
    if value and value.partition("://")[0] not in {"redis", "rediss", "unix"}:
        raise ConfigError(
            "REDIS_URL must begin with redis://, rediss:// or unix://, as redis://localhost:6379/0."
        )
    return value


def is_postgresql(url: str) -> bool:
    """Whether the tables are in PostgreSQL."""
    return url.startswith(f"{_POSTGRESQL}://")


def connect(url: str) -> Any:
    """Open a connection to PostgreSQL beside SQLAlchemy's, for announcements."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, **_CONNECT)


def engine_options(url: str) -> dict[str, Any]:
    """Return how SQLAlchemy shall open the database."""
    # A failing statement is logged without its values: names and mailboxes do not belong into logs.
    options: dict[str, Any] = {"hide_parameters": True}
    if is_postgresql(url):
        # A connection that died with its server is noticed before it is used. Each thread holds one connection
        # at most, so the threads bound their number; five stay open.
        options |= {"pool_pre_ping": True, "pool_size": 5, "max_overflow": -1, "pool_recycle": 1800}
        options["connect_args"] = dict(_CONNECT)
    else:
        options["pool_use_lifo"] = True  # what a connection has read is right until another one writes
    return options


def further_engines(url: str) -> dict[str, Any]:
    """Return the other sets of connections to the database, by their names."""
    return {} if is_postgresql(url) else {READERS: {"url": url, **engine_options(url)}}
