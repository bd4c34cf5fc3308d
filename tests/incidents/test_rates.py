"""Limits: never more than was said in any such time, spread evenly, and slower when the server says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.db import db
from portal.outbox import rate_limits
from portal.outbox.models import Queue
from portal.outbox.queue import get_queue
from portal.outbox.rate_limits import SendingRate

pytestmark = pytest.mark.both_databases
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def queue(brightleaf) -> Queue:
    found = get_queue(brightleaf)
    db.session.commit()
    return found


def leave(queue: Queue, wanted: int, now: datetime) -> int:
    """Claim as many as may leave."""
    may = rate_limits.gate(queue, now)
    count = wanted if may is None else min(wanted, may)
    rate_limits.consume(queue.account_id, count, now)
    db.session.commit()
    return count


def test_without_a_limit_everything_may_leave_and_no_row_is_made(queue):
    assert rate_limits.gate(queue, START) is None
    assert db.session.query(SendingRate).count() == 0


@given(
    limit=st.integers(1, 400),
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 50)), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_hour_sees_more_than_its_limit(queue, limit, steps):
    rate_limits.set_limits(queue.account_id, None, limit, None)
    row = db.session.get_one(SendingRate, queue.account_id)
    row.hour_full_at = None
    now, left = START, []
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        left += [now] * leave(queue, wanted, now)
    for at in left:
        assert sum(at <= other < at + rate_limits.HOUR for other in left) <= limit


def test_the_limit_is_nearly_used_up_when_there_is_enough_to_send(queue):
    rate_limits.set_limits(queue.account_id, None, 100, None)
    sent = sum(leave(queue, 50, START + timedelta(seconds=second)) for second in range(0, 3600, 5))
    assert 95 <= sent <= 100


def test_it_is_spread_evenly_after_the_first_tenth(queue):
    rate_limits.set_limits(queue.account_id, None, None, 240)
    assert leave(queue, 100, START) == 24
    assert leave(queue, 100, START + timedelta(minutes=5)) == 0
    hours = [leave(queue, 100, START + timedelta(hours=hour)) for hour in range(1, 12)]
    assert set(hours) == {9}


def test_the_pages_know_when_it_goes_on(queue):
    rate_limits.set_limits(queue.account_id, None, 60, None)
    leave(queue, 100, START)
    assert START < rate_limits.resumes_at(queue.account_id) <= START + timedelta(minutes=2)
    assert rate_limits.seconds_until_allowed(queue.account_id, START) > 0


def test_the_strictest_limit_counts(queue):
    rate_limits.set_limits(queue.account_id, 100, 10, 1000)
    assert leave(queue, 50, START) == 1


def test_a_server_that_says_too_fast_halves_the_speed_which_then_recovers(queue):
    rate_limits.throttle(queue.account_id, START)
    db.session.commit()
    sent = [leave(queue, 9, START + timedelta(seconds=second)) for second in range(60)]
    assert 25 <= sum(sent) <= 33, "half of one a second"
    later = [leave(queue, 9, START + timedelta(minutes=11, seconds=second)) for second in range(60)]
    assert sum(later) > 1.8 * sum(sent)
    assert rate_limits.gate(queue, START + timedelta(hours=1)) is None


def test_what_it_says_of_the_same_moment_slows_down_once(queue):
    for _ in range(20):
        rate_limits.throttle(queue.account_id, START)
    db.session.commit()
    assert db.session.get_one(SendingRate, queue.account_id).slowed_to == 30.0
