"""Backoff: delays grow, the last one repeats, and jitter keeps within its bounds."""

from __future__ import annotations

from datetime import timedelta

from portal.jobs import backoff


def test_delays_grow_and_the_last_one_repeats():
    delays = [backoff.delay_after(failures, (1, 5, 60)).total_seconds() for failures in range(1, 6)]
    assert delays == [1, 5, 60, 60, 60]


def test_jitter_stays_within_its_fraction_and_differs():
    delays = {backoff.with_jitter(timedelta(seconds=100), 0.2) for _ in range(50)}
    assert len(delays) > 1
    assert all(timedelta(seconds=80) <= delay <= timedelta(seconds=120) for delay in delays)


def test_a_random_delay_is_never_longer_than_asked_for():
    assert all(
        timedelta() <= backoff.random_delay(timedelta(minutes=10)) <= timedelta(minutes=10) for _ in range(50)
    )
