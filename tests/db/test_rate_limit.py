"""Budgets: counted in the database, in windows, for each key alone."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from portal.db import db
from portal.jobs.registry import job_registry
from portal.rate_limit import RateLimit, RateLimitCounter, consume, remaining, remove_old_counters, reset

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
THREE = RateLimit("three", 3, timedelta(hours=1))


def test_an_amount_may_be_spent_and_no_more(app):
    assert [consume(THREE, "ada", now=NOON) for _ in range(5)] == [True] * 3 + [False] * 2
    assert remaining(THREE, "ada", now=NOON) == 0


def test_each_key_and_each_budget_counts_for_itself(app):
    for _ in range(3):
        consume(THREE, "ada", now=NOON)
    assert consume(THREE, "bo", now=NOON)
    assert consume(RateLimit("other", 1, timedelta(hours=1)), "ada", now=NOON)
    assert consume(THREE, "ada", "x", now=NOON)
    assert remaining(THREE, "adax", now=NOON) == 3


def test_the_next_window_begins_anew(app):
    for _ in range(4):
        consume(THREE, "ada", now=NOON + timedelta(minutes=59))
    assert consume(THREE, "ada", now=NOON + timedelta(minutes=60))


def test_what_is_rolled_back_was_not_spent(app):
    consume(THREE, "ada", now=NOON)
    db.session.rollback()
    assert remaining(THREE, "ada", now=NOON) == 3


def test_a_forgotten_key_has_its_whole_budget_again(app):
    for _ in range(3):
        consume(THREE, "ada", now=NOON)
    reset(THREE, "ada", now=NOON)
    assert remaining(THREE, "ada", now=NOON) == 3


def test_old_windows_are_pruned(app):
    consume(THREE, "ada", now=NOON - timedelta(days=3))
    consume(THREE, "ada", now=NOON)
    remove_old_counters(NOON)
    assert db.session.scalar(db.select(db.func.count()).select_from(RateLimitCounter)) == 1


@pytest.mark.parametrize("key", ["ada@brightleaf.example", "\ud800", "x" * 10_000, ""])
def test_the_table_holds_nobody_s_address(app, key):
    consume(THREE, key, now=NOON)
    assert all(len(stored) == 40 for stored in db.session.scalars(db.select(RateLimitCounter.key)))


def test_many_at_once_are_counted_exactly(app):
    results, start = [], threading.Barrier(8)

    def use():
        with app.app_context():
            start.wait()
            results.append(consume(THREE, "ada", now=NOON))
            db.session.commit()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == [False] * 5 + [True] * 3


def test_a_worker_at_work_forgets_what_is_long_over(app):
    consume(THREE, "ada", now=NOON)
    db.session.commit()
    for cleanup in job_registry(app).cleanups:
        cleanup(NOON + timedelta(days=3))
    assert db.session.scalars(db.select(RateLimitCounter)).all() == []
