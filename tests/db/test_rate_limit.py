"""Rate limits: counted in the database per key, in fixed windows."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.db import db
from portal.jobs.registry import job_registry
from portal.rate_limit import RateLimit, RateLimitCounter, consume, remaining, remove_old_counters, reset
from tests.outbox.support import run_together

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
THREE = RateLimit("three", 3, timedelta(hours=1))


def test_the_limit_is_allowed_and_no_more(app):
    assert [consume(THREE, "ada", now=NOON) for _ in range(5)] == [True] * 3 + [False] * 2
    assert remaining(THREE, "ada", now=NOON) == 0


def test_each_key_and_each_limit_has_its_own_counter(app):
    for _ in range(3):
        consume(THREE, "ada", now=NOON)
    assert consume(THREE, "bo", now=NOON)
    assert consume(RateLimit("other", 1, timedelta(hours=1)), "ada", now=NOON)
    assert consume(THREE, "ada", "x", now=NOON)
    assert remaining(THREE, "adax", now=NOON) == 3


def test_the_next_window_starts_at_zero(app):
    for _ in range(4):
        consume(THREE, "ada", now=NOON + timedelta(minutes=59))
    assert consume(THREE, "ada", now=NOON + timedelta(minutes=60))


def test_a_rollback_undoes_the_count(app):
    consume(THREE, "ada", now=NOON)
    db.session.rollback()
    assert remaining(THREE, "ada", now=NOON) == 3


def test_a_reset_key_has_the_full_limit_again(app):
    for _ in range(3):
        consume(THREE, "ada", now=NOON)
    reset(THREE, "ada", now=NOON)
    assert remaining(THREE, "ada", now=NOON) == 3


def test_old_counters_are_removed(app):
    consume(THREE, "ada", now=NOON - timedelta(days=3))
    consume(THREE, "ada", now=NOON)
    remove_old_counters(NOON)
    assert db.session.scalar(db.select(db.func.count()).select_from(RateLimitCounter)) == 1


@pytest.mark.parametrize("key", ["ada@brightleaf.example", "\ud800", "x" * 10_000, ""])
def test_keys_are_stored_as_hashes(app, key):
    consume(THREE, key, now=NOON)
    assert all(len(stored) == 40 for stored in db.session.scalars(db.select(RateLimitCounter.key)))


def test_concurrent_uses_are_counted_exactly(app):
    def use(_number):
        allowed = consume(THREE, "ada", now=NOON)
        db.session.commit()
        return allowed

    assert sorted(run_together(app, 8, use)) == [False] * 5 + [True] * 3


def test_the_clean_up_of_the_worker_removes_old_counters(app):
    consume(THREE, "ada", now=NOON)
    db.session.commit()
    for cleanup in job_registry(app).cleanups:
        cleanup(NOON + timedelta(days=3))
    assert db.session.scalars(db.select(RateLimitCounter)).all() == []
