"""Benchmark of the delivery log with 1,000 and with 1,000,000 messages.

    .venv/bin/python benchmarks/deliveries.py [--database sqlite|postgresql] [--rows 1000000] [--plans]

Messages of one account over thirty days are written in bulk into a new database. Then each query of a page runs nine times
through the code of the pages, in turns with 1,000 messages and with many, and the best time counts; whole pages are fetched
through the application, with login and template. An answer must take at most 50 ms of processor time and at most twice its
time with 1,000 messages, or 5 ms; exits with 1 if not. Searches among all affiliates are measured and not counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from flask import Flask
from sqlalchemy import event, func, select, text

from benchmarks.log_pages import LINEAR, MAILBOX, PASSWORD, Sample, pages, queries, sign_in
from benchmarks.log_rows import DAYS, fill, fill_affiliates
from portal import bootstrap, create_app
from portal.accounts.models import Owner
from portal.accounts.registration import create_owner
from portal.bounces import cleanup
from portal.bounces.models import BounceEvent
from portal.clock import utcnow
from portal.db import db, read_only
from portal.deliveries import retention, rollup
from portal.outbox.models import OutboxMessage
from tests import databases
from tests.conftest import make_config

FEW = 1000
LIMIT_S, MAX_RATIO = 0.050, 2.0
TINY_S = 0.005  # a tenth of the limit; below, the two are not compared
AFFILIATES = 10  # messages for each affiliate


@contextmanager
def run_portal(kind: str, kept_folder: Path | None) -> Iterator[Flask]:
    with ExitStack() as stack:
        folder = kept_folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signet-bench-")))
        env = {}
        if kind == "postgresql":
            binaries = databases.binaries()
            if binaries is None:
                sys.exit("PostgreSQL is not installed here.")
            kept = kept_folder / "postgresql" if kept_folder else None
            env["DATABASE_URL"] = stack.enter_context(databases.cluster(binaries, kept=kept)).url("postgres")
        os.environ.pop(databases.URL, None)
        app = create_app(make_config(folder / "instance", env=env))
        bootstrap.migrate(app)
        yield app
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@dataclass
class Side:
    """A portal with so many messages, and the time of each answer in seconds."""

    app: Flask
    total: int
    now: datetime
    account: int = 0
    found: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        print(f"{self.total:,} messages", file=sys.stderr, flush=True)
        with self.app.app_context():
            self.account = prepare(self.total, self.now)

    def queries(self) -> list[tuple[str, Callable[[], Any]]]:
        with self.app.app_context():
            return list(queries(self._sample(), self.now))

    def pages(self) -> list[tuple[str, Callable[[], Any]]]:
        client = self.app.test_client()
        sign_in(client, MAILBOX)
        return list(pages(client, self._sample()))

    def _sample(self) -> Sample:
        """Return values that messages written by ``log_rows`` have."""
        total = self.total
        return Sample(
            account=self.account,
            days=DAYS,
            middle=total // 2,
            oldest=52,
            recipient=f"person{total // 2 * 104_729 % total}@mail{total // 2 % 40}.example",
            beginning=f"person{total - 1}",
            queue_id=f"Q{total // 3}",
            header_id=f"<{total // 3}@brightleaf.example>",
        )


def compare(kind: str, total: int, *, plans: bool, kept_folder: Path | None = None) -> tuple[Side, Side]:
    """Measure each query and page with 1,000 messages and with ``total``, in turns, so that both have the same company."""
    print(kind, file=sys.stderr, flush=True)
    with ExitStack() as stack:
        portals = [stack.enter_context(run_portal(kind, folder)) for folder in (None, kept_folder)]
        few, many = (Side(app, size, utcnow()) for app, size in zip(portals, (FEW, total), strict=True))
        measure_in_turns(few, many, few.queries(), many.queries(), reads=True)
        if plans:
            for name, run in many.queries():
                with many.app.app_context():
                    explain(name, run)
        measure_in_turns(few, many, few.pages(), many.pages(), reads=False)
        for side in (few, many):
            with side.app.app_context():
                old = side.now + timedelta(days=95)
                side.found["removing old events, a batch of 500"] = clean_up(side.now)
                side.found["removing 200 texts"] = best_time_s(
                    [lambda old=old: time_s(lambda: retention.prune(old))], 3
                )[0]
    return few, many


def measure_in_turns(few: Side, many: Side, of_few: Any, of_many: Any, *, reads: bool) -> None:
    """Note the best time of each answer; with ``reads``, it reads as in a GET request."""
    for (name, run_few), (_, run_many) in zip(of_few, of_many, strict=True):
        runs = [_within(few.app, run_few, reads=reads), _within(many.app, run_many, reads=reads)]
        few.found[name], many.found[name] = best_time_s(runs)


def _within(app: Flask, run: Callable[[], Any], *, reads: bool) -> Callable[[], float]:
    """Return a function that runs within the app and returns the processor time, without that of opening a transaction."""

    def timed_run() -> float:
        with app.app_context(), read_only() if reads else nullcontext():
            return time_s(run)

    return timed_run


def clean_up(now: datetime) -> float:
    """Remove what came with the events of the oldest day, and surplus ones; return the time of 500 of them."""
    waiting = select(func.count()).select_from(BounceEvent).where(BounceEvent.raw != "")
    before = db.session.scalar(waiting) or 0
    seconds = time_s(lambda: cleanup.delete_old(now + timedelta(days=1)))
    removed = before - (db.session.scalar(waiting) or 0)
    print(f"  {removed:,} of {before:,} events cleaned up in {seconds:.1f} s", file=sys.stderr, flush=True)
    return seconds * 500 / max(500, removed)


def prepare(total: int, now: datetime) -> int:
    """Write the messages unless the kept folder has them, and roll the statistics up; return the account."""
    owner = db.session.scalars(select(Owner)).first()
    written = db.session.scalar(select(func.max(OutboxMessage.id))) or 0
    if owner is not None and written < total:
        sys.exit(
            f"The kept database has {written:,} of {total:,} messages. Delete its folder and start again."
        )
    if owner is None:
        owner = create_owner("Brightleaf", "Ada", MAILBOX, PASSWORD, now=now)
        timed("affiliates filled", lambda: fill_affiliates(total // AFFILIATES, owner.account_id, now))
        timed("filled", lambda: fill(total, owner.account_id, now))
    account: int = owner.account_id
    timed("rolled up", lambda: [*iter(lambda: rollup.roll_up(now), False)])
    db.session.remove()
    db.engine.dispose()  # closes the connection with the large cache
    return account


def timed(name: str, function: Callable[[], Any]) -> None:
    """Call a function and print its duration."""
    started = time.perf_counter()
    function()
    print(f"  {name} in {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


def best_time_s(functions: Sequence[Callable[[], float]], rounds: int = 9) -> list[float]:
    """Return the shortest time of each function, which return their processor time and run in turns."""
    times = [[run() for run in functions] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def time_s(function: Callable[[], Any]) -> float:
    """Return the processor time of a call, which other work on the machine changes little.

    PostgreSQL's processes that run at its beginning and end count where the system has /proc.
    """
    db.session.rollback()
    backends = backend_files()
    started, before = time.process_time(), _backend_times_ns(backends)
    function()
    taken_s, after = time.process_time() - started, _backend_times_ns(backends)
    db.session.rollback()
    return taken_s + sum(after[one] - before[one] for one in before.keys() & after.keys()) / 1e9


def _backend_times_ns(backends: Sequence[Path]) -> dict[Path, int]:
    """Return the processor time of each process that runs, in nanoseconds."""
    found = {}
    for path in backends:
        with suppress(OSError):  # it has ended, or the system has no /proc
            found[path] = int(path.read_text().split()[0])
    return found


def backend_files() -> list[Path]:
    """Return the /proc files with the processor time of PostgreSQL's processes; none for SQLite."""
    if db.engine.dialect.name == "sqlite":
        return []
    numbers = db.session.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
    found = [Path(f"/proc/{number}/schedstat") for number in numbers]
    db.session.rollback()
    return found


def explain(name: str, run: Callable[[], Any]) -> None:
    """Print the query plan of every statement of a query."""
    executed: list[tuple[str, Any]] = []

    def record(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        executed.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", record)
    run()
    event.remove(db.engine, "before_cursor_execute", record)
    db.session.rollback()
    print(f"\n== {name}")
    keyword = "EXPLAIN QUERY PLAN" if db.engine.dialect.name == "sqlite" else "EXPLAIN"
    for statement, parameters in executed:
        if statement.startswith("SELECT"):
            with db.engine.connect() as connection:
                rows = connection.exec_driver_sql(f"{keyword} {statement}", parameters).all()
            print("  -", " | ".join(str(row[-1]).strip() for row in rows))
    db.session.rollback()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument(
        "--keep", type=Path, help="folder for the large databases, which the next run uses again"
    )
    options = parser.parse_args()
    violations = 0
    for kind in options.database or ["sqlite", "postgresql"]:
        few, many = compare(kind, options.rows, plans=options.plans, kept_folder=options.keep)
        print(f"\n| {kind} | {FEW:,} | {options.rows:,} | |\n|---|---:|---:|---|")
        for name, seconds in many.found.items():
            before = few.found[name]
            too_slow = seconds > LIMIT_S or seconds > max(MAX_RATIO * before, TINY_S)
            violations += too_slow and name not in LINEAR
            remark = "" if not too_slow else "reads all affiliates" if name in LINEAR else "TOO SLOW"
            print(f"| {name} | {before * 1000:.1f} ms | {seconds * 1000:.1f} ms | {remark} |", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
