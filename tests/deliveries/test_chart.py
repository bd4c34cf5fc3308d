"""The chart of the statistics, and the labels of durations."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.deliveries.action_labels import duration
from portal.deliveries.chart import HEIGHT, WIDTH, draw_chart
from portal.deliveries.stats import Bucket, Stats

AT = datetime(2026, 11, 1, tzinfo=UTC)
numbers = st.integers(0, 3_000_000)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=24, max_size=30))
def test_every_bar_lies_within_the_drawing(rows):
    buckets = [Bucket(AT, *row) for row in rows]
    chart = draw_chart(Stats("day", buckets, 0, False, None, None))
    assert chart.top >= max(bucket.total for bucket in buckets)
    assert len(chart.bars) == sum(bool(number) for row in rows for number in row)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH + 0.1
        assert 0 <= bar.y <= HEIGHT
        assert bar.height > 0


def test_durations_have_a_suitable_unit():
    labels = [duration(seconds) for seconds in (None, 0.2, 4.4, 200, 7300, 200_000)]
    assert labels == ["–", "under 1 s", "4 s", "3 min", "2 h", "2 days"]
