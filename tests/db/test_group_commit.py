"""Group commit: threads of one process share a transaction, and a failure of one does not affect the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event

from portal import rate_limit
from portal.clock import utcnow
from portal.db import db, group_commit
from portal.db.transaction import is_raw
from portal.outbox.queue import get_queue
from tests.databases import lock_against_writers
from tests.outbox.conftest import account as account
from tests.outbox.support import PATIENCE_S, join, new_account, queue, run_together, wait_for

pytestmark = pytest.mark.both_databases

LIMIT = rate_limit.RateLimit("group commit", 10, timedelta(days=1))


@pytest.fixture
def one_writer(app: Flask) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("other databases have several writers")


@contextmanager
def commits() -> Iterator[list[None]]:
    """Collect every commit of the session while the block runs."""
    found: list[None] = []

    def record(_connection: object) -> None:
        found.append(None)

    event.listen(db.engine, "commit", record)
    try:
        yield found
    finally:
        event.remove(db.engine, "commit", record)


def run_queued(
    app: Flask, functions: list[Callable[[], object]], raw: Container[object] = ()
) -> list[object]:
    """Run each function in a thread. All are queued, in this order, while another commit is in progress."""
    results: list[object] = [None] * len(functions)
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)

    def run(number: int, function: Callable[[], object]) -> None:
        with app.app_context():
            try:
                results[number] = group_commit.run(function, raw=function in raw)
            except Exception as error:
                results[number] = error

    leader = threading.Thread(target=run, args=(0, first))
    leader.start()
    assert begun.wait(PATIENCE_S)
    threads = [threading.Thread(target=run, args=one) for one in enumerate(functions)]
    for count, thread in enumerate(threads, 1):
        thread.start()
        wait_until_queued(count)
    go_on.set()
    join(leader, *threads)
    return results


def wait_until_queued(count: int) -> None:
    group = group_commit.of_engine(db.engine)
    wait_for(lambda: len(group._queued) == count)


def count_failures(account: int, count: int) -> Callable[[], int]:
    def function() -> int:
        get_queue(account, lock=True).consecutive_failures = count
        return account

    return function


def consuming(account: int, raw: list[bool]) -> Callable[[], bool]:
    """Return a function that needs no session and records whether its transaction was raw."""

    def function() -> bool:
        raw.append(is_raw())
        return rate_limit.consume(LIMIT, account, now=utcnow())

    return function


def test_a_lone_thread_commits_at_once(app, account):
    assert group_commit.run(count_failures(account, 3)) == account
    assert queue(account).consecutive_failures == 3


@pytest.mark.usefixtures("one_writer")
def test_threads_queued_during_a_commit_share_the_next_one(app, account):
    accounts = [account, *(new_account(name) for name in ("Larkspur", "Foxglove"))]
    for one in accounts:
        get_queue(one)
    db.session.commit()
    with commits() as made:
        assert run_queued(app, [count_failures(one, 2) for one in accounts]) == accounts
    assert len(made) == 2  # the first thread alone, then all others
    assert [queue(one).consecutive_failures for one in accounts] == [2, 2, 2]


@pytest.mark.usefixtures("one_writer")
def test_threads_queued_while_another_process_writes_share_one_commit(app, account, config):
    accounts = [account, *(new_account(name) for name in ("Larkspur", "Foxglove"))]
    for one in accounts:
        get_queue(one)
    db.session.commit()

    def run(one: int) -> None:
        with app.app_context():
            group_commit.run(count_failures(one, 4))

    threads = [threading.Thread(target=run, args=(one,)) for one in accounts]
    with commits() as made:
        with closing(lock_against_writers(config)):
            for thread in threads:
                thread.start()
            wait_until_queued(len(threads))  # the first thread waits for the write lock
        join(*threads)
    assert len(made) == 1
    assert [queue(one).consecutive_failures for one in accounts] == [4, 4, 4]


@pytest.mark.usefixtures("one_writer")
def test_a_function_that_fails_does_not_affect_the_others(app, account):
    other = new_account("Larkspur")
    for one in (account, other):
        get_queue(one)
    db.session.commit()

    def fail() -> None:
        get_queue(account, lock=True).consecutive_failures = 9
        db.session.flush()
        raise ValueError("intended")

    failed, found = run_queued(app, [fail, count_failures(other, 1)])
    assert isinstance(failed, ValueError)
    assert found == other
    assert queue(other).consecutive_failures == 1
    assert queue(account).consecutive_failures == 0


@pytest.mark.usefixtures("one_writer")
def test_a_database_error_is_raised_in_every_thread_and_the_next_run_succeeds(app, account):
    def locked() -> None:
        db.session.execute(db.text("SELECT no_such_function()"))

    results = run_queued(app, [locked, count_failures(account, 4)])
    assert all("no such function" in str(one) for one in results)
    assert group_commit.run(count_failures(account, 4)) == account


@pytest.mark.usefixtures("one_writer")
def test_raw_work_shares_a_raw_transaction_and_the_rest_is_committed_next(app, account):
    raw: list[bool] = []
    consume, consume_too = consuming(account, raw), consuming(account, raw)
    with commits() as made:  # of the session only
        found = run_queued(
            app, [consume, count_failures(account, 4), consume_too], raw=(consume, consume_too)
        )
    assert found == [True, account, True]
    assert raw == [True, True]
    assert len(made) == 2  # the first thread, and the work that needs the session
    assert queue(account).consecutive_failures == 4
    assert rate_limit.remaining(LIMIT, account, now=utcnow()) == 8


@pytest.mark.usefixtures("one_writer")
def test_a_leader_that_needs_the_session_commits_raw_work_as_well(app, account):
    raw: list[bool] = []
    consume = consuming(account, raw)
    with commits() as made:
        found = run_queued(app, [count_failures(account, 5), consume], raw=(consume,))
    assert found == [account, True]
    assert raw == [False]
    assert len(made) == 2
    assert queue(account).consecutive_failures == 5


@pytest.mark.usefixtures("one_writer")
def test_a_function_that_fails_in_a_raw_transaction_does_not_affect_the_others(app, account):
    def fail() -> None:
        rate_limit.consume(LIMIT, account, now=utcnow())
        raise ValueError("intended")

    consume = consuming(account, [])
    failed, found = run_queued(app, [fail, consume], raw=(fail, consume))
    assert isinstance(failed, ValueError)
    assert found is True
    assert rate_limit.remaining(LIMIT, account, now=utcnow()) == 9


def test_raw_work_joins_a_session_transaction_in_progress(account):
    get_queue(account, lock=True).consecutive_failures = 7
    assert group_commit.run(consuming(account, []), raw=True)
    assert queue(account).consecutive_failures == 7


def test_many_threads_are_all_committed(app, account):
    accounts = [new_account(f"Programme-{number}") for number in range(8)]
    for one in accounts:
        get_queue(one)
    db.session.commit()

    def run(number: int) -> int:
        for count in range(20):
            group_commit.run(count_failures(accounts[number], count))
        return accounts[number]

    assert sorted(run_together(app, len(accounts), run)) == sorted(accounts)
    assert [queue(one).consecutive_failures for one in accounts] == [19] * 8
