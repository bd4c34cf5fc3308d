"""The retry policy: backoff delays grow and have jitter."""

from collections import Counter

import pytest

from portal.outbox import retry


def test_delays_grow_and_have_jitter(app):
    means = [sum(retry.delay(n).total_seconds() for _ in range(200)) / 200 for n in range(1, 8)]
    assert means == sorted(means)
    assert len({retry.delay(3) for _ in range(20)}) > 10
    assert all(48 <= retry.delay(1).total_seconds() <= 72 for _ in range(100))


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_retries_after_one_outage_are_spread_over_time(app, failures):
    seconds = Counter(int(retry.delay(failures).total_seconds()) for _ in range(20_000))
    assert max(seconds.values()) <= 0.05 * 20_000
