"""Transactions past the session: whole or not at all, told of when they are over, and for swift statements alone."""

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

BUDGET = rate_limit.RateLimit("past-session", 10, timedelta(days=1))


@pytest.fixture(autouse=True)
def a_fresh_session(app: Flask) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("there the session takes part in every transaction")
    db.session.remove()


def spent() -> int:
    left = rate_limit.remaining(BUDGET, 1, now=utcnow())
    db.session.remove()
    return BUDGET.amount - left


def test_it_is_committed_with_the_end_of_its_block():
    with transaction.raw_transaction():
        rate_limit.consume(BUDGET, 1, now=utcnow())
    assert spent() == 1


def test_it_is_taken_back_where_the_block_fails():
    with pytest.raises(ValueError, match="by intention"), transaction.raw_transaction():
        rate_limit.consume(BUDGET, 1, now=utcnow())
        raise ValueError("by intention")
    assert spent() == 0
    with transaction.raw_transaction():  # and the next one is not in its way
        rate_limit.consume(BUDGET, 1, now=utcnow())
    assert spent() == 1


def test_all_of_it_happens_at_one_moment():
    with transaction.raw_transaction():
        assert transaction.db_now() == transaction.db_now()


def test_a_commit_that_fails_is_told_as_the_session_tells_it():
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), transaction.raw_transaction() as present:
        rate_limit.consume(BUDGET, 1, now=utcnow())
        cursor = present.driver.cursor()
        cursor.execute(
            "PRAGMA defer_foreign_keys = ON"
        )  # no table asks for that, so that COMMIT has reason to fail
        cursor.execute("INSERT INTO delivery_retention (account_id, body_days, row_days) VALUES (999, 1, 1)")
    assert spent() == 0


def test_a_wish_comes_true_after_the_commit_and_not_without_it(app):
    heard: list[tuple[str, int]] = []
    get_state(app).part(Notifier).push = lambda job, ident: heard.append((job, ident))
    with transaction.raw_transaction():
        notify.push_after_commit("drain", 7)
        assert heard == []
    assert heard == [("drain", 7)]
    with pytest.raises(ValueError, match="by intention"), transaction.raw_transaction():
        notify.push_after_commit("drain", 8)
        raise ValueError("by intention")
    with transaction.raw_transaction():
        pass
    db.session.commit()
    assert heard == [("drain", 7)]


def test_a_statement_of_the_sessions_is_refused_instead_of_waiting_for_itself():
    with transaction.raw_transaction(), pytest.raises(RuntimeError, match="raw transaction"):
        transaction.current_connection()


def test_what_is_looked_up_ahead_cannot_be_changed():
    with pytest.raises(OperationalError, match="readonly"), transaction.read_snapshot():
        rate_limit.consume(BUDGET, 1, now=utcnow())
    assert spent() == 0
