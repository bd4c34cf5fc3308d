"""Charts: stacks of bars for spans of time, and shares of a whole, in the units of an SVG's view box.

A chart is drawn by ``templates/components/chart.html``. Each bar has its values in words, which are also its accessible name.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEIGHT = 100.0
_MIN_HEIGHT = 1.5  # so that one in a million is visible


@dataclass(frozen=True)
class Segment:
    """One part of a stack. ``series`` names its colour: sent, delivered, unreported, waiting, bounced or failed."""

    series: str
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """The stack of one span of time, from the bottom. ``text`` states the span and its values."""

    text: str
    parts: list[Segment]


@dataclass(frozen=True)
class Chart:
    """The bars to draw. ``top`` is the number at the upper edge."""

    bars: list[Bar]
    top: int


def draw_bars(rows: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """Lay out a stack for each row: its text, and the numbers by series, from the bottom."""
    top = _round_up(max((sum(numbers.values()) for _, numbers in rows), default=0))
    return Chart([Bar(text, _stack(numbers, top)) for text, numbers in rows], top)


def share(number: int, whole: int) -> float:
    """Return the length of a bar that shows a share of a whole, from 0 to 100."""
    return round(max(number / whole * 100, _MIN_HEIGHT), 2) if number and whole else 0.0


def _stack(numbers: Mapping[str, int], top: int) -> list[Segment]:
    found, floor = [], HEIGHT
    for series, number in numbers.items():
        if number:
            height = max(number / top * HEIGHT, _MIN_HEIGHT)
            floor -= height
            found.append(Segment(series, round(max(floor, 0.0), 2), round(height, 2)))
    return found


def _round_up(number: int) -> int:
    """Return the next number with one leading digit and zeros, which is easy to read."""
    if number <= 1:
        return 1
    unit: int = 10 ** int(log10(number))
    return ceil(number / unit) * unit
