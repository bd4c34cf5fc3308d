"""URLs of the database and of Redis, and how to connect: DATABASE_URL and REDIS_URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..env import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# Name of a second pool of SQLite connections that only read: PRAGMA query_only discards prepared statements.
READ_ONLY_BIND = "readers"
# Name of a second pool of PostgreSQL connections without transactions: each statement commits itself, in one round trip.
AUTOCOMMIT_BIND = "autocommit"
_POSTGRESQL = "postgresql+psycopg"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": _POSTGRESQL,
    "postgresql": _POSTGRESQL,
    _POSTGRESQL: _POSTGRESQL,
}
# A server that disappeared without closing the connection is noticed within a minute: by keepalives while a reply is
# awaited, and by the other limit while what was sent is not acknowledged; the system's own is a quarter of an hour.
_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,  # for each host, in seconds
    "application_name": "signet",
    "keepalives_idle": 20,  # in seconds
    "keepalives_interval": 10,  # in seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,  # in milliseconds
}
_HOSTS = re.compile(r"(?P<before>[^/?]*://(?:[^/?]*@)?)(?P<hosts>[^/?@]*,[^/?@]*)(?P<after>.*)", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_SHAPE = "Write postgresql://user:password@host/name, or leave it out for SQLite in the instance folder."


def database_url(value: str, instance: Path) -> str:
    """Return the URL in SQLAlchemy's form; an empty value means SQLite in ``instance``.

    PostgreSQL may have several hosts, ``host1:5432,host2:5432``. Without ``target_session_attrs``, that is ``read-write``:
    of a server and its standby, only the one that accepts writes is connected to.

    Raises:
        ConfigError: The value is not valid. The message quotes only its scheme, because the rest may contain a password.
    """
    if not value:
        return f"sqlite:///{instance / 'portal.sqlite'}"
    scheme = value.partition("://")[0]
    if scheme not in _DRIVERS:
        named = f"begins with {scheme}://" if "://" in value else "is no URL"
        raise ConfigError(f"DATABASE_URL {named}, which Signet cannot use. {_SHAPE}")
    try:
        url = make_url(_move_hosts(value))
    except (ArgumentError, ValueError):
        raise ConfigError(f"DATABASE_URL cannot be read as a URL. {_SHAPE}") from None
    if not url.database:
        raise ConfigError(f"DATABASE_URL names no database. {_SHAPE}")
    driver = _DRIVERS[scheme]
    if driver == "sqlite":
        return value
    return _for_several_hosts(url).set(drivername=driver).render_as_string(hide_password=False)


def _move_hosts(value: str) -> str:
    """Return a URL whose several hosts, as libpq reads them, are in the query, as SQLAlchemy reads them, too.

    Raises:
        ValueError: A host or port is not valid.
    """
    found = _HOSTS.fullmatch(value)
    if found is None:
        return value
    parts = [_HOST.fullmatch(one) for one in found["hosts"].split(",")]
    if not all(parts):
        raise ValueError("hosts")
    hosts = quote(",".join(part["host"].strip("[]") for part in parts if part), safe=",")
    ports = ",".join(part["port"] or "" for part in parts if part)
    query = f"host={hosts}" + (f"&port={ports}" if ports.strip(",") else "")
    before, _, given = found["after"].partition("?")
    return f"{found['before']}{before}?{query}" + (f"&{given}" if given else "")


def _for_several_hosts(url: URL) -> URL:
    """Return the URL with ``target_session_attrs``, if it names several hosts and leaves that out."""
    hosts = url.query.get("host", "")
    if ("," in hosts or isinstance(hosts, tuple)) and "target_session_attrs" not in url.query:
        return url.update_query_dict({"target_session_attrs": "read-write"})
    return url


def redis_url(value: str) -> str:
    """Return the URL of Redis, or an empty string.

    Raises:
        ConfigError: The value is not valid. The message does not quote it, because it may contain a password.
    """
    if value and value.partition("://")[0] not in {"redis", "rediss", "unix"}:
        raise ConfigError(
            "REDIS_URL must begin with redis://, rediss:// or unix://, as redis://localhost:6379/0."
        )
    return value


def is_postgresql(url: str) -> bool:
    """Return whether a database URL is one of PostgreSQL."""
    return url.startswith(f"{_POSTGRESQL}://")


def connect(url: str) -> Any:
    """Open a connection to PostgreSQL outside SQLAlchemy's pool, for the job queues."""
    import psycopg

    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, **_CONNECT)


def engine_options(url: str) -> dict[str, Any]:
    """Return SQLAlchemy's engine options for the database."""
    # Log a failing statement without its values: names and email addresses do not belong in logs.
    options: dict[str, Any] = {"hide_parameters": True}
    if is_postgresql(url):
        # Test a connection before use, in case the server restarted (db/postgresql.py). Each thread holds at most one
        # connection, so the number of threads is the limit; five stay open.
        options |= {"pool_pre_ping": True, "pool_size": 5, "max_overflow": -1, "pool_recycle": 1800}
        options["connect_args"] = dict(_CONNECT)
    else:
        options["pool_use_lifo"] = True  # reuse the connection whose page cache is warm
    return options


def extra_binds(url: str) -> dict[str, Any]:
    """Return the URLs and options of further connection pools, by bind name."""
    if not is_postgresql(url):
        return {READ_ONLY_BIND: {"url": url, **engine_options(url)}}
    # No test before use and no rollback after it: each would cost a round trip. A connection that was lost fails once.
    own = {"pool_pre_ping": False, "pool_reset_on_return": None, "pool_use_lifo": True}
    return {AUTOCOMMIT_BIND: {"url": url, **engine_options(url), **own}}
