"""Prints what 20 KB of hostile text cost in each function that reads text from outside: ``python -m benchmarks.texts``.

Processor time of this process, the least of five runs, for the text that costs most. Exits with 1 if one exceeds the
limit. The functions and the texts are those of tests/scanners.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from time import process_time

from portal import create_app
from portal.db import db
from tests.conftest import make_config
from tests.scanners.entries import GROUPS, HOSTILE, Entry

LENGTH_CHARS = 20_000
LIMIT_MS = 50
RUNS = 5


def worst(entry: Entry) -> tuple[float, str]:
    """Return the cost in milliseconds of the text that costs most, and its name."""
    found = (0.0, "")
    for name, make in HOSTILE.items():
        text = make(LENGTH_CHARS - 4)
        found = max(found, (min(_cost(entry, f"{text} r{run}") for run in range(RUNS)), name))
    return found


def _cost(entry: Entry, text: str) -> float:
    started = process_time()
    entry.read(text)
    return (process_time() - started) * 1000


def main() -> int:
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_config(Path(folder), env={"DATABASE_URL": ""}))
        with app.app_context():
            db.create_all(bind_key=None)
            print(f"{'entry':34} {'ms':>7}  worst text ({LENGTH_CHARS:,} characters)")
            for entry in (entry for group in GROUPS.values() for entry in group):
                entry.read("x")
                gc.collect()
                cost, name = worst(entry)
                slow += cost > LIMIT_MS
                print(
                    f"{entry.name:34} {cost:7.1f}  {name!r}{'  SLOW' if cost > LIMIT_MS else ''}", flush=True
                )
    print(f"{slow} above {LIMIT_MS} ms")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
