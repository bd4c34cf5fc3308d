"""The job store holds data, not code: whatever is no job is refused, counted and logged, and the worker goes on."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from contextlib import closing

import pytest
from huey import Huey
from huey.storage import MemoryStorage

from portal.clock import utcnow
from portal.db import db
from portal.jobs import backend, refusals
from portal.jobs.registry import job_registry
from portal.monitoring import prometheus
from portal.outbox.models import Status
from tests.outbox.conftest import account, routes, serve, server
from tests.outbox.support import enqueue_message, start_worker, statuses, wait_for

__all__ = ["account", "routes", "serve", "server"]
pytestmark = pytest.mark.both_databases

PAYLOAD = "portal.engine.tend"
NO_JOBS = {
    "no JSON": b"drain 7",
    "empty": b"",
    "no UTF-8": b"\xff\xfe",
    "an unknown name": json.dumps([PAYLOAD, 7]).encode(),
    "the name of another queue": b'["check", 7]',
    "no list": b'{"job": "drain", "id": 7}',
    "a name alone": b'["drain"]',
    "too many": b'["drain", 7, {"kwargs": 1}]',
    "a text as id": b'["drain", "7"]',
    "a truth as id": b'["drain", true]',
    "a fraction": b'["drain", 7.0]',
    "nothing as id": b'["drain", null]',
    "a negative id": b'["drain", -1]',
    "an id beyond every table": b'["drain", 9223372036854775808]',
    "a name that is a list": b'[["drain"], 7]',
    "nesting": b"[" * 100_000,
    "endless digits": b'["drain", ' + b"9" * 5000 + b"]",
}


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def former_rows(job: str, id_: int) -> bytes:
    """Return a job as the version before wrote it: pickled by Huey."""
    huey = Huey("former", storage_class=MemoryStorage)
    huey._registry = backend._TaskRegistry()
    huey.task(name=job)(print)
    return huey.serialize_task(huey._registry._registry[job](args=(id_,)))


@pytest.fixture
def mail(app):
    queue = job_registry(app).queues["mail"]
    backend.make_tables(app)
    queue.flush()
    yield queue
    queue.flush()


@pytest.mark.parametrize("row", NO_JOBS.values(), ids=NO_JOBS.keys())
def test_a_row_that_is_no_job_is_refused_counted_and_logged_without_its_content(app, mail, caplog, row):
    mail.storage.enqueue(row)
    backend.push(app, "drain", 8)
    backend.push_missing(app, [("drain", 8), ("drain", 9)])  # reads what waits already
    assert [mail.dequeue().args for _ in range(2)] == [(8,), (9,)]
    assert refusals.count(utcnow()) == 1
    assert "refused a row of the job queue mail" in caplog.text
    assert PAYLOAD not in caplog.text
    assert "drain" not in caplog.text


def test_a_pickle_is_not_opened(app, mail, tmp_path):
    bomb = tmp_path / "opened"
    mail.storage.enqueue(pickle.dumps(Bomb(bomb)))
    mail.storage.enqueue(former_rows("drain", 7))
    backend.push_missing(app, [("drain", 8)])
    assert mail.dequeue().args == (8,)
    assert refusals.count(utcnow()) == 2
    assert not bomb.exists()


def test_pickles_in_the_other_tables_of_the_store_are_not_read(app, mail, tmp_path, monkeypatch):
    """Huey looks there for revoked, scheduled and finished tasks; the portal has none of them."""
    bomb, ran = tmp_path / "opened", []
    queue = job_registry(app).queues["checks"]
    task = queue.task(name="harmless")(ran.append)
    for key in ("rt:harmless", "r:1"):
        queue.storage.put_data(key, pickle.dumps(Bomb(bomb)))
    queue.storage.add_to_schedule(pickle.dumps(Bomb(bomb)), utcnow())
    assert queue.read_schedule() == []
    queue.execute(task.s(7))
    assert ran == [7]
    assert not bomb.exists()
    queue.flush()


@pytest.mark.parametrize("value", ["text", 7, 10**15, 1.5])
def test_a_value_of_another_type_in_the_file_is_refused(app, mail, database, value):
    if database != "sqlite":
        pytest.skip("PostgreSQL stores bytes only")
    with closing(sqlite3.connect(mail.storage.filename)) as other:
        other.execute("INSERT INTO task (queue, data) VALUES (?, ?)", (mail.storage.name, value))
        other.commit()
    backend.push_missing(app, [("drain", 8)])
    assert mail.dequeue().args == (8,)
    assert refusals.count(utcnow()) == 1


def test_a_job_is_stored_as_a_name_and_an_id(app, mail):
    backend.push(app, "drain", 7)
    assert [bytes(row) for row in mail.storage.enqueued_items()] == [b'["drain", 7]']


def test_a_worker_refuses_pickles_and_does_the_work_of_the_jobs_before_an_upgrade(
    app, config, mail, account, server, tmp_path
):
    bomb = tmp_path / "opened"
    enqueue_message(account, "one")
    mail.flush()  # its job is stored as the version before stored it
    mail.storage.enqueue(former_rows("drain", account))
    for queue in job_registry(app).queues.values():
        queue.storage.enqueue(pickle.dumps(Bomb(bomb)))
    rows = len(job_registry(app).queues) + 1
    worker = start_worker(config, {account: server.port})
    try:
        wait_for(lambda: statuses(account) == [Status.SENT])
        wait_for(lambda: _refused() == rows)
        enqueue_message(account, "two")
        wait_for(lambda: statuses(account) == [Status.SENT] * 2)
        assert worker.process.poll() is None
    finally:
        worker.kill()
    assert not bomb.exists()
    assert f"signet_jobs_refused {rows:.1f}" in prometheus.render(utcnow()).decode()


def _refused() -> int:
    db.session.rollback()
    return refusals.count(utcnow())


def test_only_the_queues_of_what_is_due_are_read(app):
    registry = job_registry(app)
    for name, found in registry.queues.items():
        if name != registry.queue_of_job["drain"]:
            del found.storage  # so that reading it fails
    backend.push_missing(app, [("drain", 8)])
    backend.push_missing(app, [("drain", 8)])
    assert registry.queues[registry.queue_of_job["drain"]].pending_jobs() == {("drain", 8)}
