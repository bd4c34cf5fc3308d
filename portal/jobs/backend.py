"""Job queues in Huey: in a file beside SQLite, in the PostgreSQL database, or in Redis.

A job is a name and an id ("drain account 7", "check version 12"), stored as JSON. It never carries a message or code: the
tables hold the work, so a job may be lost or repeated without harm.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..db import urls
from ..env import ConfigError
from . import drivers, refusals
from .drivers import Huey, PostgresStorage, RedisStorage, Registry, SqliteStorage
from .registry import job_registry
from .serializer import JobSerializer, RefusedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask import Flask

    from ..config import Config
    from .registry import Job

TABLE_PREFIX = "jobs"  # of Huey's tables in PostgreSQL
# What `flask worker --queue` names, and the queues that each stands for. Every queue has threads of its own, so a check
# never waits behind drains, and alerts, webhooks and housekeeping never wait for a server that does not answer a check.
PARTS = {"mail": ("mail",), "checks": ("checks", "probes", "webhooks", "alerts", "housekeeping")}
QUEUES = tuple(PARTS)


class _TaskRegistry(Registry):
    """Names a task by its job alone, without the module of its function."""

    def task_to_string(self, task_class: type[Any]) -> str:
        return task_class.__name__


class _JobQueue(Huey):
    """Reads nothing from the job store but jobs, and refuses every row that is none.

    A refused row is removed from its queue, reported to ``on_refused`` and not run. Nothing is lost with it: the tables
    hold the work, and the sweep pushes what is due.
    """

    on_refused: Callable[[str], None]  # receives the reason
    serializer: JobSerializer

    def dequeue(self) -> Any:
        while (data := self.storage.dequeue()) is not None:
            try:
                return self.deserialize_task(data)
            except RefusedJob as refused:
                self.on_refused(str(refused))
        return None

    def pending_jobs(self) -> set[Job]:
        """Return the jobs that wait. Refused rows are left to ``dequeue``."""
        found = set()
        for data in self.storage.enqueued_items():
            with suppress(RefusedJob):
                found.add(self.serializer.read(data))
        return found

    def is_revoked(self, task: Any, timestamp: Any = None, peek: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Return False: no job is revoked, so Huey need not read its table of values."""
        return False

    def read_schedule(self, timestamp: Any = None) -> list[Any]:  # noqa: ARG002
        """Return nothing: no job is scheduled, so Huey need not read its table of schedules."""
        return []


class _PostgresStorage(PostgresStorage):
    """Looks for a job when one is announced, and only now and then otherwise; Huey's does so every second in each thread.

    It starts to listen before it looks, and the connection keeps what is announced, so that no job waits for the next look.
    """

    def __init__(self, *args: Any, look_s: float, **kwargs: Any) -> None:
        self._look_s = look_s
        self._looked = (
            threading.local()
        )  # of each thread: when it found no job, and over which connection it listened
        super().__init__(*args, **kwargs)

    def dequeue(self) -> bytes | None:
        connection = self._listen_conn()
        should_look, self._looked.connection = self._should_look(connection), None
        found: bytes | None = self._dequeue() if should_look else None
        if found is None and list(connection.notifies(timeout=self.read_timeout, stop_after=1)):
            found = self._dequeue()
        if found is None:
            self._looked.connection = connection  # else there may be more, also after an error
        return found

    def _should_look(self, connection: Any) -> bool:
        """Return whether something may have been missed, or the last look was long ago."""
        looked, now = self._looked, time.monotonic()
        if getattr(looked, "connection", None) is connection and now < looked.at + self._look_s:
            return False
        looked.at = now
        return True


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


class _FileQueue(_JobQueue):
    storage_class = _FileStorage


class _PostgresQueue(_JobQueue):
    storage_class = _PostgresStorage


class _RedisQueue(_JobQueue):
    storage_class = RedisStorage


def parts_of(queues: Sequence[str]) -> list[str]:
    """Return the queues that the published names stand for."""
    return [part for queue in queues for part in PARTS[queue]]


def names_of(parts: Sequence[str]) -> list[str]:
    """Return the published names of the queues that are served as a whole."""
    return [name for name, belonging in PARTS.items() if set(belonging) <= set(parts)]


def install(app: Flask, config: Config, jobs: Mapping[str, tuple[str, Callable[[int], None]]]) -> None:
    """Build the queues of this app and register ``jobs``: name -> (queue, function of the id)."""
    registry = job_registry(app)
    parts = parts_of(QUEUES)
    registry.queues = {name: _queue(app, config, name, first=name == parts[0]) for name in parts}
    registry.queue_of_job = {job: queue for job, (queue, _) in jobs.items()}
    registry.tasks = {job: registry.queues[queue].task(name=job)(work) for job, (queue, work) in jobs.items()}


def _queue(app: Flask, config: Config, name: str, *, first: bool) -> _JobQueue:
    registry = _TaskRegistry()
    queue = _build(config, f"signet-{name}", JobSerializer(registry._registry), first=first)
    queue._registry = registry
    queue.on_refused = partial(refusals.record, app, name)
    return queue


def _build(config: Config, name: str, serializer: JobSerializer, *, first: bool) -> _JobQueue:
    """Return a queue where the configuration has it: in Redis, beside the tables in PostgreSQL, or in a file.

    The queues in a file share its tables, which the ``first`` one creates where they are missing.
    """
    if config.redis_url:
        return _build_redis(config.redis_url, name, serializer)
    if urls.is_postgresql(config.database_url):
        # bootstrap makes its tables, so that a portal starts while its database does not answer.
        drivers.load_postgresql()
        connect = partial(urls.connect, config.database_url)
        return _PostgresQueue(
            name,
            serializer=serializer,
            results=False,
            connection=connect,
            table_prefix=TABLE_PREFIX,
            create_tables=False,
            look_s=config.tuning.queue_look_s,
        )
    # No fsync: losing a job delays it until the next sweep, and never loses a message.
    path = Path(config.instance) / "jobs.sqlite"
    try:
        return _FileQueue(
            name, serializer=serializer, results=False, filename=str(path), fsync=False, create_tables=first
        )
    except sqlite3.Error as error:
        raise ConfigError(
            f"The job queue {path} cannot be opened: {error}. Does the folder of SIGNET_INSTANCE exist, and may this user "
            "write to it?"
        ) from None


def _build_redis(url: str, name: str, serializer: JobSerializer) -> _JobQueue:
    try:
        drivers.load_redis()
        return _RedisQueue(name, serializer=serializer, results=False, url=url)
    except ImportError:
        raise ConfigError(
            "REDIS_URL is set, but the Python package redis is not installed. Install it with "
            "`pip install --require-hashes -r requirements-redis.txt`, or unset REDIS_URL."
        ) from None
    except ValueError:
        raise ConfigError("REDIS_URL cannot be read; write it like redis://localhost:6379/0.") from None


def make_tables(app: Flask) -> None:
    """Create Huey's tables in PostgreSQL where they are missing."""
    storage = job_registry(app).queues["mail"].storage
    if isinstance(storage, PostgresStorage):
        storage.initialize_schema()


def push_missing(app: Flask, jobs: list[Job]) -> None:
    """Push those of ``jobs`` that do not wait in a queue already, so that sweeps do not pile them up."""
    registry = job_registry(app)
    names = {registry.queue_of_job[job[0]] for job in jobs}
    waiting = {job for name in names for job in registry.queues[name].pending_jobs()}
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
