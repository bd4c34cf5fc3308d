"""The chart of the statistics: a stack of bars for each hour or day, in the units of the SVG's view box."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stats import Bucket, Stats

WIDTH, HEIGHT = 720, 160
_GAP = 0.24  # share of a bucket's width


@dataclass(frozen=True)
class Bar:
    """One part of a stack. ``series`` is sent, waiting or failed."""

    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Chart:
    """The bars to draw. ``top`` is the number at the upper edge."""

    bars: list[Bar]
    top: int
    width: int = WIDTH
    height: int = HEIGHT


def draw_chart(stats: Stats) -> Chart:
    """Lay out the bars of all buckets."""
    top = _round_up(max((bucket.total for bucket in stats.buckets), default=0))
    width = WIDTH / len(stats.buckets)
    bars = [
        bar
        for number, bucket in enumerate(stats.buckets)
        for bar in _stack(bucket, number * width, width, top)
    ]
    return Chart(bars, top)


def _stack(bucket: Bucket, left: float, bucket_width: float, top: int) -> list[Bar]:
    found, floor = [], float(HEIGHT)
    for series in ("sent", "waiting", "failed"):
        number = getattr(bucket, series)
        if not number:
            continue
        height = max(number / top * HEIGHT, 2.0)  # at least two units, so that one in a million is visible
        floor -= height
        x, width = left + bucket_width * _GAP / 2, bucket_width * (1 - _GAP)
        found.append(Bar(series, round(x, 2), round(max(floor, 0.0), 2), round(width, 2), round(height, 2)))
    return found


def _round_up(number: int) -> int:
    """Return the next number with one leading digit and zeros, which is easy to read."""
    if number <= 1:
        return 1
    unit: int = 10 ** int(log10(number))
    return ceil(number / unit) * unit
