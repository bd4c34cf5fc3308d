"""The chart of the statistics, and the labels of durations."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.deliveries.action_labels import duration
from portal.web.charts import HEIGHT, draw_bars, share

numbers = st.integers(0, 3_000_000)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=24, max_size=30))
def test_every_bar_lies_within_the_drawing(rows):
    chart = draw_bars([("", dict(zip(("sent", "waiting", "failed"), row, strict=True))) for row in rows])
    assert chart.top >= max(sum(row) for row in rows)
    parts = [part for bar in chart.bars for part in bar.parts]
    assert len(parts) == sum(bool(number) for row in rows for number in row)
    for part in parts:
        assert 0 <= part.y <= HEIGHT
        assert part.height > 0
    assert 0 <= share(rows[0][0], max(1, sum(rows[0]))) <= HEIGHT


def test_durations_have_a_suitable_unit():
    labels = [duration(seconds) for seconds in (None, 0.2, 4.4, 200, 7300, 200_000)]
    assert labels == ["–", "under 1 s", "4 s", "3 min", "2 h", "2 days"]
