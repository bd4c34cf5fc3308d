"""Benchmark of the size of a portal on PostgreSQL: ten million messages of 10,000 accounts beside one million.

    python -m benchmarks.size [--rows 10000000] [--accounts 10000] [--plans FILE]

Fills a new PostgreSQL database with a tenth of the messages, measures claims, sweeps, figures, pruning, and the log and its
search for an account that has as many messages at both sizes and for the largest account; fills it up, measures again, and
prints a table. An answer may take at most twice its time, or ``NOISE_S`` more; exits with 1 if one takes longer. Times are of the
processor, of this process and of PostgreSQL's, the least of the last runs of many, as a driver and a server that have prepared
the statements take. ``--plans`` writes the plans of both sizes into a file.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask

from benchmarks import size_items
from benchmarks.deliveries import time_s
from benchmarks.harness import print_table
from benchmarks.log_pages import MAILBOX, sign_in
from benchmarks.size_accounts import (
    MAILBOX_OF_LARGEST,
    due_accounts,
    enqueue_due,
    fill_both_with_affiliates,
    prepare_accounts,
)
from benchmarks.size_items import Item
from benchmarks.size_plans import RUNS, blocks, explaining, text_of
from benchmarks.size_rows import LARGEST, MEDIUM, Sizes, fill, fill_rollups, timed
from portal import bootstrap, create_app
from portal.clock import utcnow
from portal.db import db, read_only
from portal.deliveries import rollup
from tests import databases
from tests.conftest import make_config

STEP = 10  # the full size in terms of the first one
MAX_RATIO, NOISE_S = 2.0, 0.001
_RUNS, _COUNTED = 21, 9
_MAX_MEASURE_S = 6.0  # of one item; slower ones get fewer runs
# The bulk load writes much and loses nothing of value in a crash. The rest is PostgreSQL's default, autovacuum included.
SETTINGS = (
    "max_connections=50",
    "wal_level=minimal",
    "max_wal_senders=0",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_wal_size=4GB",
)


@dataclass
class Measured:
    """Seconds of the processor and blocks of each item by its name, and whether it is bounded."""

    seconds: dict[str, float] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    bounded: dict[str, bool] = field(default_factory=dict)


@dataclass
class Portal:
    """The portal of the benchmark and a way to its database without the portal's limits of time."""

    app: Flask
    connect: Callable[[], psycopg.Connection[Any]]
    sizes: Sizes
    plans: Path | None

    def measure(self) -> dict[str, Measured]:
        """Measure everything; return it by the name of its table."""
        client = self.app.test_client()
        sign_in(client, MAILBOX)
        with self.app.app_context():
            sections = {
                "the portal": list(
                    size_items.of_portal(self.app, client, due_accounts(self.sizes), self.sizes.now)
                )
            }
            for mailbox, account in ((MAILBOX, MEDIUM), (MAILBOX_OF_LARGEST, LARGEST)):
                title = f"the {'largest' if account == LARGEST else 'medium'} account"
                print(f"  {title}: {size_items.count_messages(account):,} messages", flush=True)
                sections[title] = size_items.of_account(self.app, mailbox, account, self.sizes.now)
            sections["pruning"] = list(size_items.of_pruning())
        found = {title: self._measure_all(items) for title, items in sections.items()}
        with self.app.app_context():
            size_items.expire_some()
        removed = self._measure_all(size_items.of_pruning_something())
        for name in ("seconds", "blocks", "bounded"):
            getattr(found["pruning"], name).update(getattr(removed, name))
        with self.app.app_context():
            size_items.expire_no_more()
        return found

    def _measure_all(self, items: Iterable[Item]) -> Measured:
        items, found = list(items), Measured()
        for item in items:
            found.seconds[item.name] = self._best_s(item)
            found.bounded[item.name] = item.is_bounded
        with self.app.app_context(), explaining(self.connect, "bench") as plans:
            for item in items:
                for _ in range(RUNS if found.seconds[item.name] < _MAX_MEASURE_S / RUNS else 1):
                    plans.clear()
                    self._run(item)
                found.blocks[item.name] = blocks(plans)
                if self.plans:
                    with self.plans.open("a") as file:
                        file.write(text_of(item.name, plans))
        return found

    def _best_s(self, item: Item) -> float:
        times, started = [], time.monotonic()
        while len(times) < _RUNS and (len(times) < 2 or time.monotonic() - started < _MAX_MEASURE_S):
            times.append(self._run(item))
        return min(times[-_COUNTED:])

    def _run(self, item: Item) -> float:
        with self.app.app_context(), read_only() if item.reads else nullcontext():
            return time_s(item.run)


@contextmanager
def run_portal(sizes: Sizes, plans: Path | None) -> Iterator[Portal]:
    binaries = databases.binaries()
    if binaries is None:
        sys.exit("PostgreSQL is not installed here; tests/postgresql.sh installs it on Debian.")
    with (
        tempfile.TemporaryDirectory(prefix="signet-bench-") as folder,
        databases.cluster(binaries, SETTINGS) as running,
    ):
        with closing(running.connect()) as connection:
            connection.execute("CREATE DATABASE bench")
        app = create_app(make_config(Path(folder) / "instance", env={"DATABASE_URL": running.url("bench")}))
        bootstrap.migrate(app)
        yield Portal(app, lambda: running.connect("bench"), sizes, plans)
        with app.app_context():
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def compare(sizes: Sizes, plans: Path | None) -> int:
    """Measure with the first and with the full number of messages, print the tables, return how many bounds are broken."""
    found, over = [], rollup._last_full_hour(sizes.now)
    with run_portal(sizes, plans) as portal:
        with portal.app.app_context():
            prepare_accounts(sizes)
            fill_both_with_affiliates(sizes)
        for is_first in (True, False):
            number = sizes.first if is_first else sizes.full
            print(f"{number:,} messages", flush=True)
            fill(portal.connect, sizes, is_first=is_first)
            with portal.app.app_context():
                if is_first:
                    enqueue_due(sizes)
                timed("rollups", lambda: fill_rollups(portal.connect, over))
                db.session.rollback()
                rollup._set_cursor(rollup.PRUNE_CURSOR, over)
                db.session.commit()
            print(f"  {_size(portal.connect) / 2**30:.1f} GiB", flush=True)
            if plans:
                with plans.open("a") as file:
                    file.write(f"\n######## {number:,} messages\n\n")
            found.append(timed("measured", portal.measure))
    first, full = found
    return sum(_print(title, first[title], full[title], sizes) for title in first)


def _size(connect: Callable[[], psycopg.Connection[Any]]) -> int:
    with closing(connect()) as connection:
        return int(connection.execute("SELECT pg_database_size('bench')").fetchone()[0])  # type: ignore[index]


def _print(title: str, first: Measured, full: Measured, sizes: Sizes) -> int:
    rows, broken = [], 0
    for name, after in full.seconds.items():
        before = first.seconds[name]
        exceeds = after > MAX_RATIO * before and after - before > NOISE_S
        remark = ""
        if exceeds:
            is_bounded = full.bounded[name]
            broken += is_bounded
            remark = "TOO SLOW" if is_bounded else "not bounded"
        times = f"{before * 1000:.2f}", f"{after * 1000:.2f}", f"{after / before:.1f}"
        rows.append((name, *times, f"{first.blocks[name]:,}", f"{full.blocks[name]:,}", remark))
    heads = (title, f"{sizes.first:,}, ms", f"{sizes.full:,}, ms", "times", "blocks", "blocks", "")
    print_table(f"Size, {title}: at most {MAX_RATIO:g} times", heads, rows)
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=10_000_000, help="messages of the full size; the first is a tenth"
    )
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--plans", type=Path, help="file to which the plans are written")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs the finally blocks, which end the server
    if options.plans:
        options.plans.write_text("")
    sizes = Sizes(options.rows // 100 * 100, STEP, options.accounts, utcnow().replace(microsecond=0))
    broken = compare(sizes, options.plans)
    print(f"\n{broken} bounds broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
