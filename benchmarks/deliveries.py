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
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select, text

from benchmarks.log_rows import DAYS, fill, fill_affiliates
from portal import bootstrap, create_app
from portal.accounts.models import Account, Owner
from portal.accounts.registration import create_owner
from portal.affiliates.models import AffiliateState
from portal.bounces import cleanup, event_log
from portal.bounces.models import BounceEvent
from portal.clock import utcnow
from portal.db import db, read_only
from portal.deliveries import export, message_log, retention, rollup, stats
from portal.deliveries.filters import Filters
from portal.enrolment import listing
from portal.enrolment.listing import AffiliateFilters
from portal.outbox import overview
from portal.outbox.models import OutboxMessage
from tests import databases
from tests.conftest import make_config
from tests.pages import csrf_token

FEW = 1000
LIMIT_S, MAX_RATIO = 0.050, 2.0
TINY_S = 0.005  # a tenth of the limit; below, the two are not compared
# No index answers these: they look for a part of a name or of an address among the affiliates (docs/benchmarks.md).
LINEAR = {
    *(f"affiliates: {name}" for name in ("a common word", "a word of one", "a word of none")),
    *(
        f"recipient: {name}"
        for name in ("beginning of few", "beginning of all", "part of an affiliate's name")
    ),
    *(f"anywhere: {name}" for name in ("word of one", "words of all", "beginning of all, failed", "none")),
    "beginning and notice",
    "queue id",
}
AFFILIATES = 10  # messages for each affiliate
MAILBOX, PASSWORD = "ada@brightleaf.example", "a bench of oak by the lake"


def queries(account: int, total: int, now: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each query of the pages with its name."""

    def page(name: str, before: int | None = None, after: int | None = None, **args: str) -> Any:
        filters = Filters.read(args)
        return name, lambda: message_log.read_page(account, filters, before=before, after=after)

    day = (now - timedelta(days=DAYS / 2)).date().isoformat()
    yield page("first page")
    yield page("middle page", before=total // 2)
    yield page("last page", before=52)
    yield page("back from the last page", after=52)
    yield page("by status: accepted", status="sent")
    yield page("by status: failed", status="failed")
    yield page("by notice", kind="approved")
    yield page("by code: common", code="250")
    yield page("by code: rare", code="552")
    yield page("by code: none", code="421")
    yield page("by version: the oldest", version="1")
    yield page("by outcome: delivered", outcome="delivered")
    yield page("by outcome: hard", outcome="hard")
    yield page("by day", since=day, until=day)
    yield page("failed of a notice", status="failed", kind="payout-sent")
    yield page("two that never meet", status="failed", code="250")
    yield page("oldest version of one day", version="1", since=day, until=day)
    yield page("oldest version, later days", version="1", since=day)
    yield page("newest version, earlier days", version="5", until=day)
    yield page("recipient: whole", q=f"person{total // 2 * 104_729 % total}@mail{total // 2 % 40}.example")
    yield page("recipient: beginning of few", q=f"person{total - 1}")
    yield page("recipient: beginning of all", q="person")
    yield page("recipient: common domain", q="@mail1.example")
    yield page("recipient: rare domain", q="@rare0.example")
    yield page("recipient: none", q="unknown@nowhere.example")
    yield page("beginning and notice", q="person1", kind="approved")
    yield page("queue id", q=f"Q{total // 3}")
    yield page("Message-ID", q=f"<{total // 3}@brightleaf.example>")
    yield page("subject: word of one", q="unicorn", by="subject")
    yield page("subject: words of all", q="welcome to brightleaf", by="subject")
    yield page("subject: word of none", q="platypus", by="subject")
    yield page("subject: common word, failed", q="welcome", by="subject", status="failed")
    yield page("anywhere: word of one", q="unicorn")
    yield page("anywhere: words of all", q="welcome to brightleaf")
    yield page("anywhere: beginning of all, failed", q="person", status="failed")
    yield page("anywhere: none", q="platypus")
    yield page("recipient: beginning, no affiliate", q="stranger@", by="recipient")
    yield page("recipient: domain, no affiliate", q="@nowhere.example", by="recipient")
    yield page("recipient: part of an affiliate's name", q="unicorn", by="recipient")
    yield from affiliates(account)
    yield "statistics of 24 hours", lambda: stats.read(account, "day", now=now)
    yield "statistics of 30 days", lambda: stats.read(account, "month", now=now)
    yield (
        "waiting emails, for the banner",
        lambda: overview.count_waiting_of([account], overview.MAX_SHOWN + 1),
    )
    yield "events of one message", lambda: event_log.of_message(total // 2)
    yield "events without a message", lambda: event_log.list_unmatched(account, before=None, after=None)
    yield "export: first 1,000", lambda: next(iter(export.batches(account, Filters.read({}))))


def affiliates(account_id: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the queries of the owner's list of affiliates, of which there is one for ten messages."""
    account = db.session.get_one(Account, account_id)
    db.session.expunge(account)
    for name, search, state in (
        ("all", "", None),
        ("active", "", AffiliateState.ACTIVE),
        ("a common word", "fairweather", None),
        ("a word of one", "unicorn", None),
        ("a word of none", "platypus", None),
    ):
        chosen = AffiliateFilters(search=search, state=state)
        yield f"affiliates: {name}", lambda chosen=chosen: listing.list_affiliates(account, chosen)


def pages(client: FlaskClient, total: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield requests for whole pages with their names."""

    def page(name: str, query: str = "", path: str = "/deliveries") -> Any:
        def get() -> None:
            with client.application.app_context():
                assert client.get(f"{path}{query}").status_code == 200

        return f"GET {name}", get

    yield page("the log")
    yield page("the log, 30 days", "?span=month")
    yield page("the log, last page", "?before=52")
    yield page("failed of a notice", "?status=failed&kind=payout-sent")
    yield page("a recipient", f"?q=person{total // 2 * 104_729 % total}@mail{total // 2 % 40}.example")
    yield page("emails that bounced", "?outcome=hard")
    yield page("a message", path=f"/deliveries/{total // 2}")
    yield page("bounces", path="/settings/bounces")
    yield page("events without a message", path="/settings/bounces/events")
    yield page("words of a subject", "?q=welcome+to+brightleaf&by=subject")
    yield page("the affiliates", path="/affiliates")


def sign_in(client: FlaskClient) -> None:
    with client.application.app_context():
        form = {"csrf_token": csrf_token(client.get("/log-in").get_data(as_text=True))}
        client.post("/log-in", data=form | {"mailbox": MAILBOX, "password": PASSWORD})


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
            return list(queries(self.account, self.total, self.now))

    def pages(self) -> list[tuple[str, Callable[[], Any]]]:
        client = self.app.test_client()
        sign_in(client)
        return list(pages(client, self.total))


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
    """Return the processor time of a call, which other work on the machine changes little."""
    db.session.rollback()
    backends = backend_files()
    started = processor_time_s(backends)
    function()
    taken = processor_time_s(backends) - started
    db.session.rollback()
    return taken


def backend_files() -> list[Path]:
    """Return the /proc files with the processor time of PostgreSQL's processes; none for SQLite."""
    if db.engine.dialect.name == "sqlite":
        return []
    numbers = db.session.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
    found = [Path(f"/proc/{number}/schedstat") for number in numbers]
    db.session.rollback()
    return found


def processor_time_s(backends: Sequence[Path]) -> float:
    """Return the processor time of this process and PostgreSQL's; elapsed time where the system has no /proc."""
    try:
        backends_ns = sum(int(path.read_text().split()[0]) for path in backends)
    except OSError:
        return time.perf_counter()
    return time.process_time() + backends_ns / 1e9


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
