"""What runs the work: Huey, and its tasks, one line each, calling a deed.

A job says *drain this account* or *check this version*; it never carries a message, so it may be lost
or repeated without harm.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey
from huey.exceptions import ConfigurationError
from huey.storage import PostgresStorage, SqliteStorage

from .api import cleanup
from .clock import utcnow
from .config import Config, ConfigError
from .db import urls
from .deliveries import bulk_actions, rollup
from .domains.checks import look_at as look_at_domain
from .enrolment.cleanup import forget_unconfirmed
from .events.weekly_summary import plan as plan_week
from .incidents import alerts, monitor, webhooks
from .outbox.sending import dispatcher
from .settings import login_probe
from .settings.check import check as check_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

JOBS = "jobs"  # how the tables begin that are Huey's and not ours


class _Listening(PostgresStorage):
    """Listens before it looks, so that nothing is announced in between and then waits for a second."""

    def dequeue(self) -> bytes | None:
        self._listen_conn()
        found: bytes | None = super().dequeue()
        return found


class _Watching(SqliteStorage):
    """Looks for jobs only when the file was changed, which SQLite tells by a number, at hardly any cost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._changed = object()  # by ourselves: the number tells of changes by others alone
        self._empty_at: tuple[int, object] | None = None
        super().__init__(*args, **kwargs)

    def dequeue(self) -> bytes | None:
        with self.lock:
            (number,) = self.conn.execute("PRAGMA data_version").fetchone()
        present = (number, self._changed)
        if present == self._empty_at:
            return None
        found: bytes | None = super().dequeue()
        if found is None:
            self._empty_at = present
        return found

    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        super().enqueue(*args, **kwargs)
        self._changed = object()


class _InFile(SqliteHuey):
    storage_class = _Watching


class _InPostgres(PostgresHuey):
    storage_class = _Listening


# The jobs by the queue they wait in: a check of settings never waits behind drains.
QUEUES = ("mail", "checks")


def install(app: Flask, config: Config) -> dict[str, Huey]:
    """Build a Huey instance for each queue of this app and name the tasks."""
    hueys = {name: _runner(config, name) for name in QUEUES}

    def drain(account_id: int) -> None:
        dispatcher.serve(app, account_id)

    def within(deed: Callable[[int], object]) -> Callable[[int], None]:
        def work(ident: int) -> None:
            with app.app_context():
                deed(ident)

        return work

    deeds: dict[str, tuple[str, Callable[[int], None]]] = {
        "drain": ("mail", drain),
        "check": ("checks", within(check_version)),
        "look": ("checks", within(look_at_domain)),
        "order": ("checks", within(bulk_actions.carry_out)),
        "plan": ("checks", within(lambda account_id: plan_week(account_id, now=utcnow()))),
        "forget": ("checks", within(lambda _: forget_unconfirmed(now=utcnow()))),
        "tend": ("checks", within(_tend)),
        "alert": ("checks", within(alerts.send)),
        "hook": ("checks", within(webhooks.deliver)),
        "canary": ("checks", within(login_probe.run)),
        "watch": ("checks", within(monitor.look)),
    }
    app.extensions["signet.queue_of_job"] = {job: queue for job, (queue, _) in deeds.items()}
    app.extensions["signet.tasks"] = {
        job: hueys[queue].task(name=job)(deed) for job, (queue, deed) in deeds.items()
    }
    app.extensions["signet.hueys"] = hueys
    return hueys


def _tend(_: int) -> None:
    rollup.tend()
    cleanup.forget(utcnow())


def _runner(config: Config, queue: str) -> Huey:
    """Return Huey where the configuration has it: in Redis, beside the tables in PostgreSQL, or in a file."""
    name = f"signet-{queue}"
    if config.redis_url:
        return _in_redis(config.redis_url, name)
    if urls.is_postgresql(config.database_url):
        # Its tables are made by setup, so that a portal starts while its database does not answer.
        connect = partial(urls.connect, config.database_url)
        return _InPostgres(name, connection=connect, results=False, table_prefix=JOBS, create_tables=False)
    # fsync is off on purpose: losing a job costs one sweep, never a message.
    path = Path(config.instance) / "jobs.sqlite"
    return _InFile(name, filename=str(path), results=False, fsync=False)


def _in_redis(url: str, name: str) -> Huey:
    try:
        return RedisHuey(name, url=url, results=False)
    except ConfigurationError:
        raise ConfigError(
            "REDIS_URL is set, but the Python package redis is not installed. Install it with "
            "`pip install --require-hashes -r requirements-redis.txt`, or unset REDIS_URL."
        ) from None
    except ValueError:
        raise ConfigError("REDIS_URL cannot be read; write it like redis://localhost:6379/0.") from None


def make_tables(app: Flask) -> None:
    """Make the tables in which PostgreSQL keeps the announcements, where they are missing."""
    huey: Huey = app.extensions["signet.hueys"]["mail"]
    if isinstance(huey, PostgresHuey):
        huey.storage.initialize_schema()


def announce_missing(app: Flask, jobs: list[tuple[str, int]]) -> None:
    """Put jobs in the queue unless they wait there already: a sweep must not pile them up."""
    hueys: dict[str, Huey] = app.extensions["signet.hueys"]
    pending = [task for huey in hueys.values() for task in huey.pending()] if jobs else []
    waiting = {(task.name, *task.args) for task in pending}
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
