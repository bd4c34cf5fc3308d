"""What runs the work: Huey, and its tasks, one line each, calling a deed.

A job says *drain this account* or *check this version*; it never carries a message, so it may be lost
or repeated without harm.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask
from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey
from huey.exceptions import ConfigurationError
from huey.storage import PostgresStorage

from . import stores
from .config import Config, ConfigError
from .deliveries import bulk, tending
from .domains.checks import look_at as look_at_domain
from .outbox.delivery import drain as drain_queue
from .settings.check import check as check_version

JOBS = "jobs"  # how the tables begin that are Huey's and not ours


class _Listening(PostgresStorage):
    """Listens before it looks, so that nothing is announced in between and then waits for a second."""

    def dequeue(self) -> bytes | None:
        self._listen_conn()
        found: bytes | None = super().dequeue()
        return found


class _InPostgres(PostgresHuey):
    storage_class = _Listening


def install(app: Flask, config: Config) -> Huey:
    """Build the Huey instance for this app and name its tasks."""
    huey = _runner(config)

    @huey.task(name="drain")
    def drain(account_id: int) -> None:
        with app.app_context():
            drain_queue(account_id)

    @huey.task(name="check")
    def check(version_id: int) -> None:
        with app.app_context():
            check_version(version_id)

    @huey.task(name="order")
    def order(order_id: int) -> None:
        with app.app_context():
            bulk.carry_out(order_id)

    @huey.task(name="tend")
    def tend(_: int) -> None:
        with app.app_context():
            tending.tend()

    @huey.task(name="look")
    def look(version_id: int) -> None:
        with app.app_context():
            look_at_domain(version_id)

    tasks = {"drain": drain, "check": check, "look": look, "order": order, "tend": tend}
    app.extensions["signet.tasks"] = tasks
    return huey


def _runner(config: Config) -> Huey:
    """Return Huey where the configuration has it: in Redis, beside the tables in PostgreSQL, or in a file."""
    if config.redis_url:
        return _in_redis(config.redis_url)
    if stores.is_postgresql(config.database_url):
        # Its tables are made by setup, so that a portal starts while its database does not answer.
        connect = partial(stores.connect, config.database_url)
        return _InPostgres(
            "signet", connection=connect, results=False, table_prefix=JOBS, create_tables=False
        )
    # fsync is off on purpose: losing a job costs one sweep, never a message.
    path = Path(config.instance) / "jobs.sqlite"
    return SqliteHuey("signet", filename=str(path), results=False, fsync=False)


def _in_redis(url: str) -> Huey:
    try:
        return RedisHuey("signet", url=url, results=False)
    except ConfigurationError:
        raise ConfigError(
            "REDIS_URL is set, but the Python package redis is not installed. Install it with "
            "`pip install --require-hashes -r requirements-redis.txt`, or unset REDIS_URL."
        ) from None
    except ValueError:
        raise ConfigError("REDIS_URL cannot be read; write it like redis://localhost:6379/0.") from None


def make_tables(app: Flask) -> None:
    """Make the tables in which PostgreSQL keeps the announcements, where they are missing."""
    huey: Huey = app.extensions["signet.huey"]
    if isinstance(huey, PostgresHuey):
        huey.storage.initialize_schema()


def announce_missing(app: Flask, jobs: list[tuple[str, int]]) -> None:
    """Put jobs in the queue unless they wait there already: a sweep must not pile them up."""
    huey: Huey = app.extensions["signet.huey"]
    waiting = {(task.name, *task.args) for task in huey.pending()} if jobs else set()
    for job, ident in jobs:
        if (job, ident) not in waiting:
            announce(app, job, ident)


def announce(app: Flask, job: str, ident: int) -> None:
    """Put a job in the queue."""
    tasks: dict[str, Any] = app.extensions["signet.tasks"]
    try:
        tasks[job](ident)
    except Exception:  # of whichever storage: a connection that died with its server is noticed late
        tasks[job](ident)
