"""How large a batch becomes, by what was sent and how long that took."""

from __future__ import annotations

import pytest

from portal.outbox.sending import batch_size
from portal.outbox.sending.batch_size import BatchSizer
from portal.tuning import Tuning


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so; the processor has nothing to do meanwhile."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(batch_size.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(batch_size.time, "process_time", lambda: 0.0)
    return Clock


def batch(judged: BatchSizer, clock, tried: int, seconds: float) -> bool:
    """Begin a batch after the one before took so long, when so many were tried in all."""
    clock.now += seconds
    return judged.begin_batch(tried)


def test_a_fast_server_gets_larger_batches_up_to_a_bound(clock):
    judged, tried, sizes = BatchSizer(Tuning()), 0, []
    batch(judged, clock, 0, 0)
    for _ in range(4):
        tried += judged.size
        batch(judged, clock, tried, judged.size * 0.0004)
        sizes.append(judged.size)
    assert sizes == [32, 200, 200, 200]


def test_a_slow_server_gets_smaller_ones_and_asks_for_help_once(clock):
    judged = BatchSizer(Tuning())
    batch(judged, clock, 0, 0)
    assert batch(judged, clock, 4, 1.0)
    assert (judged.size, judged.is_slow) == (2, True)
    assert not batch(judged, clock, 6, 1.0)
    assert judged.size == 1


def test_a_batch_that_was_not_full_is_judged_by_what_was_in_it(clock):
    judged = BatchSizer(Tuning())
    batch(judged, clock, 0, 0)
    batch(judged, clock, 1, 0.1)  # 0.1 s for one: five of these would take as long as a batch may
    assert judged.size == 4
    assert judged.is_slow


def test_who_is_busy_needs_no_help(clock, monkeypatch):
    judged = BatchSizer(Tuning())
    monkeypatch.setattr(batch_size.time, "process_time", lambda: clock.now)
    batch(judged, clock, 0, 0)
    assert not batch(judged, clock, 4, 0.3)
    assert judged.is_busy
    assert not judged.is_slow


def test_a_rest_counts_neither_for_nor_against_the_server(clock):
    judged = BatchSizer(Tuning())
    batch(judged, clock, 0, 0)
    clock.now += 0.004
    judged.pause(4)
    assert judged.size == 32
    clock.now += 60
    judged.resume()
    assert not judged.held_long_enough()
    assert not batch(judged, clock, 4, 0)
    assert judged.size == 32
