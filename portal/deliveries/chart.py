"""The figures as a drawing: one stack of bars for each hour or day, in the units of the SVG's own box."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stats import Figures, Slot

WIDTH, HEIGHT = 720, 160
_GAP = 0.24  # of a slot


@dataclass(frozen=True)
class Bar:
    """One part of a stack; ``series`` is sent, waiting or failed."""

    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Chart:
    """What there is to draw. ``top`` is the number at the upper edge."""

    bars: list[Bar]
    top: int
    width: int = WIDTH
    height: int = HEIGHT


def draw(figures: Figures) -> Chart:
    """Lay the bars out."""
    top = _round_up(max((slot.total for slot in figures.slots), default=0))
    each = WIDTH / len(figures.slots)
    bars = [
        bar for number, slot in enumerate(figures.slots) for bar in _stack(slot, number * each, each, top)
    ]
    return Chart(bars, top)


def _stack(slot: Slot, left: float, each: float, top: int) -> list[Bar]:
    found, floor = [], float(HEIGHT)
    for series in ("sent", "waiting", "failed"):
        number = getattr(slot, series)
        if not number:
            continue
        height = max(number / top * HEIGHT, 2.0)  # one in a million is seen, too
        floor -= height
        x, width = left + each * _GAP / 2, each * (1 - _GAP)
        found.append(Bar(series, round(x, 2), round(max(floor, 0.0), 2), round(width, 2), round(height, 2)))
    return found


def _round_up(number: int) -> int:
    """The next number that is easily read: its first figure, and then noughts."""
    if number <= 1:
        return 1
    unit: int = 10 ** int(log10(number))
    return ceil(number / unit) * unit
