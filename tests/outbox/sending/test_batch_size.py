"""The batch size adapts to the speed of the server and to the load of this process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.outbox.sending import batch_size
from portal.outbox.sending.batch_size import BatchSizer
from portal.tuning import Tuning

HALF_A_SECOND = Tuning(batch_target_s=0.5, batch_busy_factor=4.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test advances, in seconds; the process uses no processor time."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(batch_size.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(batch_size.time, "process_time", lambda: 0.0)
    return Clock


def begin_batch(sizer: BatchSizer, clock, tried: int, duration_s: float) -> bool:
    """Begin a batch after the previous one took so long; ``tried`` counts the messages of all batches."""
    clock.now += duration_s
    return sizer.begin_batch(tried)


def test_a_fast_server_gets_larger_batches_up_to_a_limit(clock):
    sizer, tried, sizes = BatchSizer(Tuning()), 0, []
    begin_batch(sizer, clock, 0, 0)
    for _ in range(4):
        tried += sizer.size
        begin_batch(sizer, clock, tried, sizer.size * 0.0004)
        sizes.append(sizer.size)
    assert sizes == [32, 200, 200, 200]


def test_a_slow_server_gets_smaller_batches_and_one_more_connection(clock):
    sizer = BatchSizer(HALF_A_SECOND)
    begin_batch(sizer, clock, 0, 0)
    assert begin_batch(sizer, clock, 4, 1.0)
    assert (sizer.size, sizer.is_slow) == (2, True)
    assert not begin_batch(sizer, clock, 6, 0.6)
    assert sizer.size == 1


def test_a_slow_server_gets_a_connection_again_after_one_was_released(clock):
    sizer = BatchSizer(Tuning())
    begin_batch(sizer, clock, 0, 0)
    assert begin_batch(sizer, clock, 4, 0.6)
    assert not begin_batch(sizer, clock, 6, 0.6)
    assert begin_batch(sizer, clock, 7, 0.6)


def test_a_partial_batch_is_assessed_by_its_own_number_of_messages(clock):
    sizer = BatchSizer(HALF_A_SECOND)
    begin_batch(sizer, clock, 0, 0)
    begin_batch(sizer, clock, 1, 0.1)  # 0.1 s for one message: five would take as long as a batch may
    assert sizer.size == 4
    assert sizer.is_slow


def test_a_busy_process_requests_no_second_connection(clock, monkeypatch):
    sizer = BatchSizer(Tuning())
    monkeypatch.setattr(batch_size.time, "process_time", lambda: clock.now)
    begin_batch(sizer, clock, 0, 0)
    assert not begin_batch(sizer, clock, 4, 0.3)
    assert sizer.is_saturated
    assert not sizer.is_slow


def test_a_busy_process_gets_larger_batches_than_one_that_waits_for_its_server(clock, monkeypatch):
    busy, waiting = (BatchSizer(replace(HALF_A_SECOND, batch_first=50)) for _ in range(2))
    begin_batch(waiting, clock, 0, 0)
    begin_batch(waiting, clock, 50, 0.6)
    assert waiting.size == 25
    monkeypatch.setattr(batch_size.time, "process_time", lambda: clock.now)
    begin_batch(busy, clock, 0, 0)
    begin_batch(busy, clock, 50, 0.6)  # four accounts that share one processor
    assert busy.size == 166
    begin_batch(busy, clock, 216, 2.4)
    assert busy.size == 83


def test_a_helper_yields_only_where_the_process_is_saturated(clock, monkeypatch):
    sizer, cpu = BatchSizer(Tuning()), [0.0]
    sizer.is_helper = True
    monkeypatch.setattr(batch_size.time, "process_time", lambda: cpu[0])
    begin_batch(sizer, clock, 0, 0)
    cpu[0] += 0.35
    assert not begin_batch(sizer, clock, 4, 0.5)  # seven tenths of a processor
    assert not sizer.should_yield(lambda: True)
    cpu[0] += 0.48
    begin_batch(sizer, clock, 8, 0.5)
    assert sizer.should_yield(lambda: False)


def test_an_idle_time_is_not_part_of_the_measurement(clock):
    sizer = BatchSizer(Tuning())
    begin_batch(sizer, clock, 0, 0)
    clock.now += 0.004
    sizer.pause(4)
    assert sizer.size == 32
    clock.now += 60
    sizer.resume()
    assert not sizer.held_long_enough()
    assert not begin_batch(sizer, clock, 4, 0)
    assert sizer.size == 32
