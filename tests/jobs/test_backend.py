"""Job queues: a file is searched only after a change, and every pushed job has a function."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from huey import SqliteHuey

from portal.about import ROOT
from portal.jobs import backend
from portal.jobs.registry import job_registry

_PUSHED = r'push(?:_after_commit)?\("([a-z-]+)"|^_?JOB = "([a-z-]+)"'


@pytest.fixture
def huey(app, config) -> SqliteHuey:
    if config.database_url.startswith("postgresql"):
        pytest.skip("the queues are in PostgreSQL")
    found = job_registry(app).queues["mail"]
    while found.dequeue() is not None:
        pass
    return found


def test_an_unchanged_file_is_not_searched(huey):
    assert huey.dequeue() is None
    statements: list[str] = []
    huey.storage.conn.set_trace_callback(statements.append)
    assert huey.dequeue() is None
    huey.storage.conn.set_trace_callback(None)
    assert statements == ["PRAGMA data_version"]


def test_a_job_of_this_process_is_found_after_an_empty_search(app, huey):
    assert huey.dequeue() is None
    backend.push(app, "drain", 7)
    task = huey.dequeue()
    assert (task.name, task.args) == ("drain", (7,))
    assert huey.dequeue() is None


def test_a_job_of_another_process_is_found_after_an_empty_search(app, huey):
    backend.push(app, "drain", 7)
    (data,) = huey.storage.enqueued_items()
    huey.flush()
    assert huey.dequeue() is None
    with closing(sqlite3.connect(huey.storage.filename)) as other:
        other.execute("INSERT INTO task (queue, data) VALUES (?, ?)", (huey.storage.name, data))
        other.commit()
    assert huey.dequeue().args == (7,)


def test_every_room_pushes_jobs_that_have_a_function(app):
    """A misspelled name would be logged at each push, and its work would wait for the sweep for ever."""
    pushed = {
        name
        for path in (ROOT / "portal").rglob("*.py")
        for names in re.findall(_PUSHED, path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in names
        if name
    }
    assert {"drain", "check", "rollup", "webhook"} <= pushed
    assert pushed <= job_registry(app).tasks.keys()
