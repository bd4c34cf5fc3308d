"""Rate limits: counted in the database per key, over sliding windows."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.db import db
from portal.jobs.registry import job_registry
from portal.rate_limit import (
    RateLimit,
    RateLimitCounter,
    consume,
    remaining,
    remove_old_counters,
    reset,
    wait,
)
from tests.outbox.support import run_together

pytestmark = pytest.mark.both_databases

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


@pytest.mark.parametrize("before_noon", [timedelta(seconds=1), timedelta(minutes=7), timedelta(minutes=59)])
def test_no_window_holds_more_than_the_limit_wherever_it_begins(app, before_noon):
    start = NOON - before_noon
    used = [start + timedelta(seconds=20 * n) for n in range(600) if _try(start + timedelta(seconds=20 * n))]
    assert len(used) >= 9  # more than two hours
    for first in used:
        assert len([one for one in used if first <= one < first + THREE.window]) <= THREE.amount


def _try(now):
    return consume(THREE, "ada", now=now)


def test_a_day_has_no_midnight_at_which_the_limit_starts_anew(app):
    daily = RateLimit("daily", 3, timedelta(days=1))
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    times = [midnight + timedelta(seconds=4 * n - 20) for n in range(10)]
    assert sum(consume(daily, "ada", now=now) for now in times) == 3


def test_a_use_is_allowed_again_one_slot_after_the_window_at_the_latest(app):
    for minute in (0, 30, 40):
        assert _try(NOON + timedelta(minutes=minute))
    later = NOON + THREE.window + THREE.slot
    assert not _try(later - timedelta(seconds=1))
    assert _try(later)
    assert not _try(later)


def test_refused_uses_do_not_prolong_the_wait(app):
    for _ in range(3):
        _try(NOON)
    for minute in range(1, 60):
        assert not _try(NOON + timedelta(minutes=minute))
    assert _try(NOON + THREE.window + THREE.slot)


def test_the_wait_ends_when_the_next_use_is_allowed(app):
    for minute in (0, 0, 30):
        assert wait(THREE, "ada", now=NOON + timedelta(minutes=minute)) == timedelta()
        _try(NOON + timedelta(minutes=minute))
    now = NOON + timedelta(minutes=31)
    assert wait(THREE, "ada", now=now) == timedelta(minutes=34)
    assert not _try(now + timedelta(minutes=34, microseconds=-1))
    assert _try(now + timedelta(minutes=34))


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
