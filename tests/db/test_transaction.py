"""Raw transactions: atomic, with callbacks after the commit, for prepared statements only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError

from portal import rate_limit
from portal.clock import utcnow
from portal.db import db, transaction
from portal.jobs import notify
from portal.jobs.notify import Notifier
from portal.state import get_state

LIMIT = rate_limit.RateLimit("raw transaction", 10, timedelta(days=1))


@pytest.fixture(autouse=True)
def fresh_session(app: Flask) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("other databases have no raw transactions")
    db.session.remove()


def used() -> int:
    remaining = rate_limit.remaining(LIMIT, 1, now=utcnow())
    db.session.remove()
    return LIMIT.amount - remaining


def test_it_is_committed_at_the_end_of_its_block():
    with transaction.raw_transaction():
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 1


def test_it_is_rolled_back_when_the_block_raises():
    with pytest.raises(ValueError, match="intended"), transaction.raw_transaction():
        rate_limit.consume(LIMIT, 1, now=utcnow())
        raise ValueError("intended")
    assert used() == 0
    with transaction.raw_transaction():  # the next one succeeds
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 1


def test_db_now_is_constant_within_a_transaction():
    with transaction.raw_transaction():
        assert transaction.db_now() == transaction.db_now()


def test_a_commit_that_fails_raises_the_same_error_as_the_session():
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), transaction.raw_transaction() as current:
        rate_limit.consume(LIMIT, 1, now=utcnow())
        cursor = current.driver.cursor()
        cursor.execute("PRAGMA defer_foreign_keys = ON")  # so that COMMIT fails, and not the INSERT
        cursor.execute("INSERT INTO delivery_retention (account_id, body_days, row_days) VALUES (999, 1, 1)")
    assert used() == 0


def test_a_job_is_pushed_after_the_commit_and_not_without_it(app):
    pushed: list[tuple[str, int]] = []
    get_state(app).part(Notifier).push = lambda job, id_: pushed.append((job, id_))
    with transaction.raw_transaction():
        notify.push_after_commit("drain", 7)
        assert pushed == []
    assert pushed == [("drain", 7)]
    with pytest.raises(ValueError, match="intended"), transaction.raw_transaction():
        notify.push_after_commit("drain", 8)
        raise ValueError("intended")
    with transaction.raw_transaction():
        pass
    db.session.commit()
    assert pushed == [("drain", 7)]


def test_the_connection_of_the_session_is_refused_instead_of_a_deadlock():
    with transaction.raw_transaction(), pytest.raises(RuntimeError, match="raw transaction"):
        transaction.current_connection()


def test_a_read_snapshot_refuses_writes():
    with pytest.raises(OperationalError, match="readonly"), transaction.read_snapshot():
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 0
