"""Sending limits: never exceeded in any window, spread evenly, and lowered while the server limits the rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.db import db
from portal.outbox import rate_limits
from portal.outbox.models import Queue
from portal.outbox.queue import get_queue
from portal.outbox.rate_limits import SendingRate

pytestmark = pytest.mark.both_databases
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(START + timedelta(minutes=12), tick=False):
        yield


@pytest.fixture
def queue(account) -> Queue:
    row = get_queue(account)
    db.session.commit()
    return row


def consume(queue: Queue, wanted: int, now: datetime) -> int:
    """Consume up to ``wanted`` messages; return how many were allowed."""
    allowed = rate_limits.gate(queue, now)
    count = wanted if allowed is None else min(wanted, allowed)
    rate_limits.consume(queue.account_id, count, now)
    db.session.commit()
    return count


def test_without_a_limit_everything_is_allowed_and_no_row_is_inserted(queue):
    assert rate_limits.gate(queue, START) is None
    assert db.session.query(SendingRate).count() == 0


@given(
    limit=st.integers(1, 400),
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 50)), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_window_of_an_hour_exceeds_the_limit(queue, limit, steps):
    rate_limits.set_limits(queue.account_id, None, limit, None)
    row = db.session.get_one(SendingRate, queue.account_id)
    row.hour_full_at = None
    now, sent_at = START, []
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        sent_at += [now] * consume(queue, wanted, now)
    for at in sent_at:
        assert sum(at <= other < at + rate_limits.HOUR for other in sent_at) <= limit


def test_the_limit_is_almost_reached_when_enough_messages_wait(queue):
    rate_limits.set_limits(queue.account_id, None, 100, None)
    sent = sum(consume(queue, 50, START + timedelta(seconds=second)) for second in range(0, 3600, 5))
    assert 95 <= sent <= 100


def test_messages_are_spread_evenly_after_the_first_tenth(queue):
    rate_limits.set_limits(queue.account_id, None, None, 240)
    assert consume(queue, 100, START) == 24
    assert consume(queue, 100, START + timedelta(minutes=5)) == 0
    hours = [consume(queue, 100, START + timedelta(hours=hour)) for hour in range(1, 12)]
    assert set(hours) == {9}


def test_the_time_of_resumption_is_known(queue):
    rate_limits.set_limits(queue.account_id, None, 60, None)
    consume(queue, 100, START)
    assert START < rate_limits.resumes_at(queue.account_id) <= START + timedelta(minutes=2)
    assert rate_limits.seconds_until_allowed(queue.account_id, START) > 0


def test_the_strictest_limit_applies(queue):
    rate_limits.set_limits(queue.account_id, 100, 10, 1000)
    assert consume(queue, 50, START) == 1


def test_throttling_halves_the_rate_which_then_recovers(queue):
    rate_limits.throttle(queue.account_id, START)
    db.session.commit()
    sent = [consume(queue, 9, START + timedelta(seconds=second)) for second in range(60)]
    assert 25 <= sum(sent) <= 33, "half of one a second"
    later = [consume(queue, 9, START + timedelta(minutes=11, seconds=second)) for second in range(60)]
    assert sum(later) > 1.8 * sum(sent)
    assert rate_limits.gate(queue, START + timedelta(hours=1)) is None


def test_rate_limit_replies_of_the_same_moment_throttle_once(queue):
    for _ in range(20):
        rate_limits.throttle(queue.account_id, START)
    db.session.commit()
    assert db.session.get_one(SendingRate, queue.account_id).slowed_to == 30.0
