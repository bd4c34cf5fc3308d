"""Jobs pushed through a real Redis start at once; without Redis the sweep still finds the work."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from portal.clock import utcnow
from portal.config import Config
from portal.db import db
from portal.jobs import refusals
from portal.jobs.registry import job_registry
from portal.outbox.models import Status
from tests.conftest import make_config
from tests.outbox.conftest import account, routes, serve, server
from tests.outbox.support import LIMITS, Worker, enqueue_message, start_worker, statuses, wait_for
from tests.smtp.badserver import BadServer

from .servers import Redis, redis_missing

__all__ = ["account", "routes", "serve", "server"]
_NO_SWEEP_S = 3600.0  # longer than any test, so that only a pushed job can start the work


@pytest.fixture
def redis(real_or_skip) -> Iterator[Redis]:
    real_or_skip(redis_missing())
    with Redis() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, redis: Redis) -> Config:
    return make_config(tmp_path / "instance", lease=20.0, limits=LIMITS, redis_url=redis.url)


@contextmanager
def working(config: Config, account: int, server: BadServer, *, sweep: float) -> Iterator[Worker]:
    worker = start_worker(config, {account: server.port}, sweep=sweep)
    try:
        yield worker
    finally:
        worker.kill()


def is_served(redis: Redis) -> bool:
    """Return whether a worker waits for pushed jobs."""
    return b"brpop" in redis.request("CLIENT", "LIST").lower()


def test_a_job_pushed_through_redis_starts_without_a_sweep(app: Flask, config, redis, account, server):
    with working(config, account, server, sweep=_NO_SWEEP_S):
        wait_for(lambda: is_served(redis))
        enqueue_message(account, "one")
        wait_for(lambda: statuses(account) == [Status.SENT])


def test_a_flushed_redis_loses_jobs_but_no_message(app: Flask, config, redis, account, server):
    for number in range(20):
        enqueue_message(account, f"before:{number}")
    assert redis.request("FLUSHALL") == b"+OK\r\n"
    with working(config, account, server, sweep=0.5):
        wait_for(lambda: statuses(account) == [Status.SENT] * 20)
    assert len(server.messages) == 20


def test_a_message_enqueued_without_redis_is_sent_once_redis_is_back(
    app: Flask, config, redis, account, server
):
    with working(config, account, server, sweep=0.5) as worker:
        wait_for(lambda: is_served(redis))
        redis.stop()
        enqueue_message(account, "one")  # enqueueing succeeds without Redis
        assert statuses(account) in ([Status.QUEUED], [Status.SENT])
        time.sleep(1.5)
        assert worker.process.poll() is None
        redis.run()
        wait_for(lambda: statuses(account) == [Status.SENT])
    assert len(server.messages) == 1


def test_the_start_does_not_need_redis(tmp_path: Path, redis: Redis):
    from portal import create_app

    redis.stop()
    create_app(replace(make_config(tmp_path / "other"), redis_url=redis.url))


class _Bomb:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_and_values_of_another_type_in_redis_are_not_opened(
    app: Flask, config, redis, account, server, tmp_path
):
    bomb = tmp_path / "opened"
    row = pickle.dumps(_Bomb(bomb))
    queues = [huey.storage for huey in job_registry(app).queues.values()]
    for storage in queues:
        storage.conn.lpush(storage.queue_key, row, b'["unknown", 7]')
        storage.conn.zadd(storage.schedule_key, {row: 0})
        storage.conn.hset(storage.result_key, "rt:drain", row)
    with working(config, account, server, sweep=0.5) as worker:
        wait_for(lambda: _refused() == 2 * len(queues))
        enqueue_message(account, "one")
        wait_for(lambda: statuses(account) == [Status.SENT])
        queues[0].conn.delete(queues[0].queue_key)
        queues[0].conn.set(queues[0].queue_key, "no list")  # the worker can read no job until this is gone
        enqueue_message(account, "two")
        queues[0].conn.delete(queues[0].queue_key)
        wait_for(lambda: statuses(account) == [Status.SENT] * 2)
        assert worker.process.poll() is None
    assert not bomb.exists()


def _refused() -> int:
    db.session.rollback()
    return refusals.count(utcnow())
