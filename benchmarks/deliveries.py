"""Benchmark of the delivery log with 1,000 and with 1,000,000 messages.

    .venv/bin/python benchmarks/deliveries.py [--database sqlite|postgresql] [--rows 1000000] [--plans]

Messages of one account over thirty days are written in bulk into a new database. Then each query of a page runs nine times
through the code of the pages, and the best time counts; whole pages are fetched through the application, with login and
template. An answer must take at most 50 ms of processor time and at most twice its time with 1,000 messages; exits with 1
if not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

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
from tests import databases
from tests.conftest import make_config
from tests.pages import csrf_token

LIMIT_S, MAX_RATIO = 0.050, 2.0
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
def run_portal(kind: str, kept_folder: Path | None) -> Iterator[Any]:
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
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


def measure(kind: str, total: int, *, plans: bool, kept_folder: Path | None = None) -> dict[str, float]:
    """Return the processor time of each query and page in seconds, by name."""
    print(f"{kind}, {total:,} messages", file=sys.stderr, flush=True)
    now = utcnow()
    with run_portal(kind, kept_folder) as app:
        account = prepare(total, now)
        with read_only():  # as in a GET request
            found = {name: best_time_s(run) for name, run in queries(account, total, now)}
            for name, run in queries(account, total, now) if plans else ():
                explain(name, run)
            db.session.rollback()
        client = app.test_client()
        sign_in(client)
        found |= {name: best_time_s(run) for name, run in pages(client, total)}
        found["removing old events, a batch of 500"] = clean_up(now)
        found["removing 200 texts"] = best_time_s(lambda: retention.prune(now + timedelta(days=95)), 3)
    return found


def clean_up(now: datetime) -> float:
    """Remove what came with the events of the oldest day, and surplus ones; return the time of 500 of them."""
    waiting = select(func.count()).select_from(BounceEvent).where(BounceEvent.raw != "")
    before = db.session.scalar(waiting) or 0
    seconds = best_time_s(lambda: cleanup.delete_old(now + timedelta(days=1)), 1)
    removed = before - (db.session.scalar(waiting) or 0)
    print(f"  {removed:,} of {before:,} events cleaned up in {seconds:.1f} s", file=sys.stderr, flush=True)
    return seconds * 500 / max(500, removed)


def prepare(total: int, now: datetime) -> int:
    """Write the messages unless the kept folder has them, and roll the statistics up; return the account."""
    owner = db.session.scalars(select(Owner)).first()
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


def best_time_s(function: Callable[[], Any], rounds: int = 9) -> float:
    """Return the shortest processor time of a call, which other work on the machine does not change."""
    times = []
    for _ in range(rounds):
        db.session.rollback()
        backends = backend_files()
        started = processor_time_s(backends)
        function()
        times.append(processor_time_s(backends) - started)
    db.session.rollback()
    return min(times)


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
        few = measure(kind, 1000, plans=False)
        many = measure(kind, options.rows, plans=options.plans, kept_folder=options.keep)
        print(f"\n| {kind} | 1,000 | {options.rows:,} | |\n|---|---:|---:|---|")
        for name, seconds in many.items():
            too_slow = seconds > LIMIT_S or seconds > MAX_RATIO * few[name]
            violations += too_slow
            print(
                f"| {name} | {few[name] * 1000:.1f} ms | {seconds * 1000:.1f} ms | {'TOO SLOW' if too_slow else ''} |"
            )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
