"""Several connections of one process record what they have to in one transaction, and none suffers for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event

from portal import rate_limit
from portal.clock import utcnow
from portal.db import db, group_commit
from portal.db.transaction import is_past_session
from portal.outbox.queue import get_queue
from tests.databases import lock_against_writers
from tests.outbox.support import new_account, queue

BUDGET = rate_limit.Budget("together", 10, timedelta(days=1))


@pytest.fixture
def one_writer(app: Flask) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("many write at the same time there")


@contextmanager
def commits() -> Iterator[list[None]]:
    """Every commit while the block runs."""
    found: list[None] = []

    def note(_connection: object) -> None:
        found.append(None)

    event.listen(db.engine, "commit", note)
    try:
        yield found
    finally:
        event.remove(db.engine, "commit", note)


def at_once(app: Flask, deeds: list[Callable[[], object]], swift: Container[object] = ()) -> list[object]:
    """Record deeds from threads of their own, all of which came, in this order, while another was under way."""
    results: list[object] = [None] * len(deeds)
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(5)

    def run(number: int, deed: Callable[[], object]) -> None:
        with app.app_context():
            try:
                results[number] = group_commit.record(deed, swift=deed in swift)
            except Exception as trouble:
                results[number] = trouble

    leader = threading.Thread(target=run, args=(0, first))
    leader.start()
    assert begun.wait(5)
    threads = [threading.Thread(target=run, args=one) for one in enumerate(deeds)]
    parts = group_commit.of_engine(db.engine)
    for count, thread in enumerate(threads, 1):
        thread.start()
        while len(parts._waiting) < count:
            pass
    go_on.set()
    for thread in [leader, *threads]:
        thread.join(10)
        assert not thread.is_alive()
    return results


def trouble_of(account: int, count: int) -> Callable[[], int]:
    def deed() -> int:
        get_queue(account, lock=True).consecutive_failures = count
        return account

    return deed


def spending(account: int, past: list[bool]) -> Callable[[], bool]:
    """A swift deed that notes whether it was done past the session."""

    def deed() -> bool:
        past.append(is_past_session())
        return rate_limit.spend(BUDGET, account, now=utcnow())

    return deed


def test_whoever_is_alone_is_recorded_at_once(app, account):
    assert group_commit.record(trouble_of(account, 3)) == account
    assert queue(account).consecutive_failures == 3


@pytest.mark.usefixtures("one_writer")
def test_all_who_come_while_one_is_recorded_share_the_next_commit(app, account):
    accounts = [account, *(new_account(name) for name in ("Larkspur", "Foxglove"))]
    for one in accounts:
        get_queue(one)
    db.session.commit()
    with commits() as made:
        assert at_once(app, [trouble_of(one, 2) for one in accounts]) == accounts
    assert len(made) == 2  # that of the first, and that of all others
    assert [queue(one).consecutive_failures for one in accounts] == [2, 2, 2]


@pytest.mark.usefixtures("one_writer")
def test_all_who_come_while_another_process_writes_share_one_commit(app, account, config):
    accounts = [account, *(new_account(name) for name in ("Larkspur", "Foxglove"))]
    for one in accounts:
        get_queue(one)
    db.session.commit()

    def run(one: int) -> None:
        with app.app_context():
            group_commit.record(trouble_of(one, 4))

    threads = [threading.Thread(target=run, args=(one,)) for one in accounts]
    with commits() as made:
        with closing(lock_against_writers(config)):
            for thread in threads:
                thread.start()
            time.sleep(0.3)  # the first stands in line, the others come to it
        for thread in threads:
            thread.join(10)
    assert len(made) == 1
    assert [queue(one).consecutive_failures for one in accounts] == [4, 4, 4]


@pytest.mark.usefixtures("one_writer")
def test_one_who_fails_costs_the_others_nothing(app, account):
    other = new_account("Larkspur")
    for one in (account, other):
        get_queue(one)
    db.session.commit()

    def fail() -> None:
        get_queue(account, lock=True).consecutive_failures = 9
        db.session.flush()
        raise ValueError("by intention")

    failed, found = at_once(app, [fail, trouble_of(other, 1)])
    assert isinstance(failed, ValueError)
    assert found == other
    assert queue(other).consecutive_failures == 1
    assert queue(account).consecutive_failures == 0


@pytest.mark.usefixtures("one_writer")
def test_trouble_with_the_database_is_told_to_all_and_they_may_come_again(app, account):
    def locked() -> None:
        db.session.execute(db.text("SELECT no_such_function()"))

    results = at_once(app, [locked, trouble_of(account, 4)])
    assert all("no such function" in str(one) for one in results)
    assert group_commit.record(trouble_of(account, 4)) == account


@pytest.mark.usefixtures("one_writer")
def test_who_needs_no_session_shares_a_transaction_past_it_and_the_others_come_next(app, account):
    past: list[bool] = []
    spend, spend_too = spending(account, past), spending(account, past)
    with commits() as made:  # those of the session
        found = at_once(app, [spend, trouble_of(account, 4), spend_too], swift=(spend, spend_too))
    assert found == [True, account, True]
    assert past == [True, True]
    assert len(made) == 2  # that of the first, and that of the one who needs the session
    assert queue(account).consecutive_failures == 4
    assert rate_limit.left(BUDGET, account, now=utcnow()) == 8


@pytest.mark.usefixtures("one_writer")
def test_who_needs_the_session_takes_all_the_others_along(app, account):
    past: list[bool] = []
    spend = spending(account, past)
    with commits() as made:
        found = at_once(app, [trouble_of(account, 5), spend], swift=(spend,))
    assert found == [account, True]
    assert past == [False]
    assert len(made) == 2
    assert queue(account).consecutive_failures == 5


@pytest.mark.usefixtures("one_writer")
def test_one_who_fails_past_the_session_costs_the_others_nothing(app, account):
    def fail() -> None:
        rate_limit.spend(BUDGET, account, now=utcnow())
        raise ValueError("by intention")

    spend = spending(account, [])
    failed, found = at_once(app, [fail, spend], swift=(fail, spend))
    assert isinstance(failed, ValueError)
    assert found is True
    assert rate_limit.left(BUDGET, account, now=utcnow()) == 9


def test_a_session_that_has_begun_goes_on_in_its_own_transaction(account):
    get_queue(account, lock=True).consecutive_failures = 7
    assert group_commit.record(spending(account, []), swift=True)
    assert queue(account).consecutive_failures == 7


def test_many_at_once_are_all_recorded(app, account):
    accounts = [new_account(f"Programme-{number}") for number in range(8)]
    for one in accounts:
        get_queue(one)
    db.session.commit()
    results: list[int] = []

    def run(ident: int) -> None:
        with app.app_context():
            for number in range(20):
                group_commit.record(trouble_of(ident, number))
            results.append(ident)

    threads = [threading.Thread(target=run, args=(one,)) for one in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == sorted(accounts)
    assert [queue(one).consecutive_failures for one in accounts] == [19] * 8
