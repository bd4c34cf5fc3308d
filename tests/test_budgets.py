"""Budgets: counted in the database, in windows, for each key alone."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from portal.db import db
from portal.jobs.registry import job_registry
from portal.rate_limit import Budget, BudgetCount, forget, left, prune, spend

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
THREE = Budget("three", 3, timedelta(hours=1))


def test_an_amount_may_be_spent_and_no_more(app):
    assert [spend(THREE, "ada", now=NOON) for _ in range(5)] == [True] * 3 + [False] * 2
    assert left(THREE, "ada", now=NOON) == 0


def test_each_key_and_each_budget_counts_for_itself(app):
    for _ in range(3):
        spend(THREE, "ada", now=NOON)
    assert spend(THREE, "bo", now=NOON)
    assert spend(Budget("other", 1, timedelta(hours=1)), "ada", now=NOON)
    assert spend(THREE, "ada", "x", now=NOON)
    assert left(THREE, "adax", now=NOON) == 3


def test_the_next_window_begins_anew(app):
    for _ in range(4):
        spend(THREE, "ada", now=NOON + timedelta(minutes=59))
    assert spend(THREE, "ada", now=NOON + timedelta(minutes=60))


def test_what_is_rolled_back_was_not_spent(app):
    spend(THREE, "ada", now=NOON)
    db.session.rollback()
    assert left(THREE, "ada", now=NOON) == 3


def test_a_forgotten_key_has_its_whole_budget_again(app):
    for _ in range(3):
        spend(THREE, "ada", now=NOON)
    forget(THREE, "ada", now=NOON)
    assert left(THREE, "ada", now=NOON) == 3


def test_old_windows_are_pruned(app):
    spend(THREE, "ada", now=NOON - timedelta(days=3))
    spend(THREE, "ada", now=NOON)
    prune(NOON)
    assert db.session.scalar(db.select(db.func.count()).select_from(BudgetCount)) == 1


@pytest.mark.parametrize("key", ["ada@brightleaf.example", "\ud800", "x" * 10_000, ""])
def test_the_table_holds_nobody_s_address(app, key):
    spend(THREE, key, now=NOON)
    assert all(len(stored) == 40 for stored in db.session.scalars(db.select(BudgetCount.key)))


def test_many_at_once_are_counted_exactly(app):
    results, start = [], threading.Barrier(8)

    def use():
        with app.app_context():
            start.wait()
            results.append(spend(THREE, "ada", now=NOON))
            db.session.commit()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == [False] * 5 + [True] * 3


def test_a_worker_at_work_forgets_what_is_long_over(app):
    spend(THREE, "ada", now=NOON)
    db.session.commit()
    for cleanup in job_registry(app).cleanups:
        cleanup(NOON + timedelta(days=3))
    assert db.session.scalars(db.select(BudgetCount)).all() == []
