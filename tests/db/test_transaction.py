"""Raw transactions: atomic, with callbacks after the commit, for prepared statements only."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from portal import rate_limit
from portal.clock import utcnow
from portal.db import db, transaction
from portal.db.urls import connect
from portal.jobs import notify
from portal.jobs.notify import Notifier
from portal.state import get_state
from tests.outbox.support import wait_for

pytestmark = pytest.mark.both_databases

LIMIT = rate_limit.RateLimit("raw transaction", 10, timedelta(days=1))


@pytest.fixture(autouse=True)
def fresh_session(app: Flask) -> None:
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
    deferred = [  # so that COMMIT fails, and not the INSERT
        "PRAGMA defer_foreign_keys = ON",
        "INSERT INTO delivery_retention (account_id, body_days, row_days) VALUES (999, 1, 1)",
    ]
    if db.engine.dialect.name == "postgresql":
        deferred = [
            "CREATE TEMPORARY TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
            "INSERT INTO once VALUES (1), (1)",
        ]
    with pytest.raises(IntegrityError), transaction.raw_transaction() as current:
        rate_limit.consume(LIMIT, 1, now=utcnow())
        cursor = current.driver.cursor()
        for statement in deferred:
            cursor.execute(statement)
    assert used() == 0


@pytest.mark.only_postgresql
def test_a_lost_connection_is_an_error_of_the_database_and_not_used_again():
    with pytest.raises(OperationalError), transaction.raw_transaction() as current:
        pid = current.driver.dbapi_connection.info.backend_pid
        db.session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        db.session.remove()
        rate_limit.consume(LIMIT, 1, now=utcnow())
    with transaction.raw_transaction():
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 1


@pytest.mark.only_postgresql
def test_a_raw_transaction_sends_its_statements_and_no_others(tmp_path):
    with transaction.raw_transaction() as current:
        traced = current.driver.dbapi_connection.pgconn
    with (tmp_path / "trace").open("w") as file:
        traced.trace(file.fileno())
        with transaction.raw_transaction() as current:
            assert current.driver.dbapi_connection.pgconn is traced
            rate_limit.consume(LIMIT, 1, now=utcnow())
        traced.untrace()
    sent = re.findall(r"\tF\t\d+\t(Query|Parse)\b", (tmp_path / "trace").read_text())
    assert sent == ["Query", "Parse", "Query"]


@pytest.mark.only_postgresql
def test_an_idle_connection_that_the_server_ended_is_replaced():
    with transaction.raw_transaction() as current:
        pid = current.driver.dbapi_connection.info.backend_pid
    with connect(str(db.engine.url.render_as_string(hide_password=False))) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: other.execute(gone, (pid,)).fetchone()[0])
    with transaction.raw_transaction():
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 1


def test_a_short_transaction_is_the_sessions_where_that_has_begun():
    with transaction.short_transaction() as current:
        assert current.connection is None
    db.session.execute(text("SELECT 1"))
    with transaction.short_transaction() as current:
        assert current.connection is db.session.connection()
    assert not db.session().in_transaction()


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
    with pytest.raises(DBAPIError, match=r"read-?only"), transaction.read_snapshot():
        rate_limit.consume(LIMIT, 1, now=utcnow())
    assert used() == 0
