"""Measures, in a process of its own, how the work of the entries grows: ``python -m tests.scanners.measure GROUP LENGTH``.

The work is processor time; of several runs the least counts. Other processes on the machine lengthen it, too, because
they share its caches and its clock, and for seconds at a time. Growth therefore counts only where each of several attempts
shows it, and where it also shows over three doublings, which a text that no longer fits a cache does not.
Each run reads another text, so that no cache of the product answers.

Prints one line of JSON for each text whose cost grew too fast.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import process_time

from portal import create_app
from portal.db import db
from tests.conftest import make_config
from tests.scanners.entries import GROUPS, HOSTILE, Entry

GROWTH = 2.5  # of the cost, at most, for a text of twice the length
NOISE_S = 0.003  # of processor time, added to the limit: costs below it show no growth
ROUNDS = 15  # of one attempt
ATTEMPTS = 5
_numbers = count()


def find_growth(entry: Entry, length: int) -> Iterator[tuple[str, int, float, float]]:
    """Yield each hostile text whose cost grew too fast: its name, its length, and both costs in seconds."""
    lengths = [length]
    if entry.limit is not None:
        lengths = [min(entry.limit // 2, length)]
        if length > entry.limit:
            lengths.append(length)
    for name, make in HOSTILE.items():
        for one in lengths:
            growth = growth_of(entry.read, make, one)
            if growth is not None:
                yield name, one, *growth


def growth_of(
    read: Callable[[str], object], make: Callable[[int], str], length: int
) -> tuple[float, float] | None:
    """Return the costs of a text of ``length`` and of twice the length in seconds, or None where growth is linear."""
    growth = None
    for _ in range(ATTEMPTS):
        growth = _growth(read, make(length), make(2 * length), GROWTH)
        if growth is None or _growth(read, make(length // 4), make(2 * length), GROWTH**3) is None:
            return None
    return growth


def _growth(
    read: Callable[[str], object], short: str, long: str, factor: float
) -> tuple[float, float] | None:
    """Return the least costs of both texts in seconds, or None once the long one costs at most ``factor`` times more."""
    small = large = float("inf")
    for _ in range(ROUNDS):
        large = min(large, _cost(read, long))
        if large <= NOISE_S:
            return None  # whatever the short text costs
        small = min(small, _cost(read, short))
        if large <= factor * small + NOISE_S:
            return None
    return small, large


def _cost(read: Callable[[str], object], text: str) -> float:
    unique = f"r{next(_numbers):07}"  # without a space: two in a row may be read in another way than one
    text = text[: len(text) - len(unique)] + unique
    started = process_time()
    read(text)
    return process_time() - started


def main(group: str, length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_config(Path(folder), env={"DATABASE_URL": ""}))
        with app.app_context():
            db.create_all(bind_key=None)
            for entry in GROUPS[group]:
                entry.read("x")  # what is made once, such as compiled templates, is no cost of a text
                gc.collect()
                gc.disable()
                for found in find_growth(entry, length):
                    print(json.dumps((entry.name, *found)), flush=True)
                gc.enable()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
