"""A job queue in PostgreSQL that is quiet: it is looked into when a job is announced, and not once a second."""

from contextlib import closing, suppress

import psycopg
import pytest

from portal.jobs import backend
from portal.jobs.registry import job_registry

pytestmark = pytest.mark.only_postgresql


@pytest.fixture
def storage(app):
    found = job_registry(app).queues["mail"].storage
    found.read_timeout = 0.05
    found.flush_queue()
    return found


@pytest.fixture
def looks(storage):
    """The results of all looks into the queue."""
    found, look = [], storage._dequeue

    def note():
        found.append(look())
        return found[-1]

    storage._dequeue = note
    return found


def test_a_quiet_queue_is_looked_into_once_and_after_each_announcement(app, storage, looks):
    assert [storage.dequeue() for _ in range(5)] == [None] * 5
    assert len(looks) == 1
    backend.push(app, "drain", 7)
    backend.push(app, "drain", 8)
    taken = [storage.dequeue(), storage.dequeue()]
    assert all(taken) and taken[0] != taken[1]
    before = len(looks)
    while storage.dequeue() is not None or len(looks) == before:
        pass
    before = len(looks)
    assert [storage.dequeue() for _ in range(3)] == [None] * 3
    assert len(looks) == before


def test_a_job_that_was_announced_while_no_connection_listened_is_found(app, storage, looks):
    assert storage.dequeue() is None
    pid = storage._listen_conn().info.backend_pid
    with closing(storage._connect()) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    backend.push(app, "drain", 7)
    found = None
    while found is None:
        with suppress(psycopg.OperationalError):
            found = storage.dequeue()
    assert looks[-1] == found


def test_an_announced_job_is_found_after_an_error(app, storage, looks):
    assert storage.dequeue() is None
    look, storage._dequeue = storage._dequeue, lambda: 1 / 0
    backend.push(app, "drain", 7)
    with pytest.raises(ZeroDivisionError):
        storage.dequeue()
    storage._dequeue = look
    assert storage.dequeue() is not None
