"""Measures, in a process of its own, how the work of the entries grows: ``python -m tests.scanners.measure GROUP LENGTH``.

The work is processor time, which another process on the machine does not add to; of several runs the least counts.
Each run reads another text, so that no cache answers. Prints one line of JSON for each text whose cost grew too fast.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

from portal import create_app
from portal.db import db
from tests.conftest import make_config
from tests.scanners.entries import GROUPS, HOSTILE, Entry

GROWTH = 2.5  # of the cost, at most, for a text of twice the length
NOISE_S = 0.003  # of processor time, added to the limit: costs below it show no growth
ROUNDS = 15


def find_growth(entry: Entry, length: int) -> Iterator[tuple[str, int, float, float]]:
    """Yield each hostile text whose cost grew too fast: its name, its length, and both costs in seconds."""
    lengths = [length]
    if entry.limit is not None:
        lengths = [min(entry.limit // 2, length)]
        if length > entry.limit:
            lengths.append(length)
    for name, make in HOSTILE.items():
        for one in lengths:
            small, large = costs(entry.read, make(one), make(2 * one))
            if large > GROWTH * small + NOISE_S:
                yield name, one, small, large


def costs(read: Callable[[str], object], short: str, long: str) -> tuple[float, float]:
    """Return the least processor time of reading both texts, measured until it shows linear growth."""
    small = large = float("inf")
    for number in range(ROUNDS):
        small = min(small, _cost(read, short, number))
        large = min(large, _cost(read, long, number))
        if large <= GROWTH * small + NOISE_S:
            break
    return small, large


def _cost(read: Callable[[str], object], text: str, number: int) -> float:
    unique = f" r{number}"
    text = text[: len(text) - len(unique)] + unique
    started = process_time()
    read(text)
    return process_time() - started


def main(group: str, length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_config(Path(folder), env={"DATABASE_URL": ""}))
        with app.app_context():
            db.create_all()
            for entry in GROUPS[group]:
                entry.read("x")  # what is made once, such as compiled templates, is no cost of a text
                gc.collect()
                gc.disable()
                for found in find_growth(entry, length):
                    print(json.dumps((entry.name, *found)), flush=True)
                gc.enable()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
