"""Job queues in Huey: in a file beside SQLite, in the PostgreSQL database, or in Redis.

A job is a name and an id ("drain account 7", "check version 12"). It never carries a message: the tables hold the work,
so a job may be lost or repeated without harm.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huey import PostgresHuey, RedisHuey, SqliteHuey
from huey.exceptions import ConfigurationError
from huey.registry import Registry
from huey.storage import PostgresStorage, SqliteStorage

from ..db import urls
from ..env import ConfigError
from .registry import Job, job_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask
    from huey import Huey
    from huey.registry import Message

    from ..config import Config

TABLE_PREFIX = "jobs"  # of Huey's tables in PostgreSQL
# A check of settings never waits behind drains.
QUEUES = ("mail", "checks")
_IGNORED = "ignored"  # the task that replaces a job of an unknown name

_log = logging.getLogger(__name__)


class _TaskRegistry(Registry):
    """Names a task by its job alone, and replaces a job this version does not know by one that does nothing.

    During an upgrade a queue may hold jobs of another version. Nothing is lost with them: the sweep pushes what is due.
    """

    def task_to_string(self, task_class: type[Any]) -> str:
        return task_class.__name__

    def create_task(self, message: Message) -> Any:
        if message.name not in self._registry:
            _log.warning("ignored a job of the unknown name %r", message.name)
            message = message._replace(name=_IGNORED, args=(), kwargs={})
        return super().create_task(message)


class _PostgresStorage(PostgresStorage):
    """Starts to listen before it looks for a job, so that no job pushed in between waits for the next poll."""

    def dequeue(self) -> bytes | None:
        self._listen_conn()
        found: bytes | None = super().dequeue()
        return found


class _FileStorage(SqliteStorage):
    """Looks for jobs only when the file has changed; SQLite's ``data_version`` shows that at hardly any cost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._own_changes = object()  # replaced at each of our own changes, which data_version does not count
        self._empty_at: tuple[int, object] | None = None
        super().__init__(*args, **kwargs)

    def dequeue(self) -> bytes | None:
        with self.lock:
            (number,) = self.conn.execute("PRAGMA data_version").fetchone()
        version = (number, self._own_changes)
        if version == self._empty_at:
            return None
        found: bytes | None = super().dequeue()
        if found is None:
            self._empty_at = version
        return found

    def enqueue(self, *args: Any, **kwargs: Any) -> None:
        super().enqueue(*args, **kwargs)
        self._own_changes = object()


class _FileHuey(SqliteHuey):
    storage_class = _FileStorage


class _PostgresHuey(PostgresHuey):
    storage_class = _PostgresStorage


def install(app: Flask, config: Config, jobs: Mapping[str, tuple[str, Callable[[int], None]]]) -> None:
    """Build the queues of this app and register ``jobs``: name -> (queue, function of the id)."""
    registry = job_registry(app)
    registry.queues = {name: _queue(config, name) for name in QUEUES}
    registry.queue_of_job = {job: queue for job, (queue, _) in jobs.items()}
    registry.tasks = {job: registry.queues[queue].task(name=job)(work) for job, (queue, work) in jobs.items()}


def _queue(config: Config, name: str) -> Huey:
    huey = _build(config, f"signet-{name}")
    huey._registry = _TaskRegistry()
    huey.task(name=_IGNORED)(_do_nothing)
    return huey


def _do_nothing() -> None:
    """Stand in for a job of an unknown name."""


def _build(config: Config, name: str) -> Huey:
    """Return Huey where the configuration has it: in Redis, beside the tables in PostgreSQL, or in a file."""
    if config.redis_url:
        return _build_redis(config.redis_url, name)
    if urls.is_postgresql(config.database_url):
        # bootstrap makes its tables, so that a portal starts while its database does not answer.
        connect = partial(urls.connect, config.database_url)
        return _PostgresHuey(
            name, connection=connect, results=False, table_prefix=TABLE_PREFIX, create_tables=False
        )
    # No fsync: losing a job delays it until the next sweep, and never loses a message.
    path = Path(config.instance) / "jobs.sqlite"
    return _FileHuey(name, filename=str(path), results=False, fsync=False)


def _build_redis(url: str, name: str) -> Huey:
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
    """Create Huey's tables in PostgreSQL where they are missing."""
    huey = job_registry(app).queues["mail"]
    if isinstance(huey, PostgresHuey):
        huey.storage.initialize_schema()


def push_missing(app: Flask, jobs: list[Job]) -> None:
    """Push those of ``jobs`` that do not wait in a queue already, so that sweeps do not pile them up."""
    queues = job_registry(app).queues.values() if jobs else ()
    waiting = {(task.name, *task.args) for queue in queues for task in queue.pending()}
    for job in jobs:
        if job not in waiting:
            push(app, *job)


def push(app: Flask, job: str, id_: int) -> None:
    """Put a job into its queue. Raises what the queue's storage raises."""
    tasks = job_registry(app).tasks
    try:
        tasks[job](id_)
    except (
        Exception
    ):  # any storage: a connection that was lost with its server is noticed only at its next use
        tasks[job](id_)
