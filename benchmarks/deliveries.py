"""The delivery log with 1,000 and with 1,000,000 messages: does every answer take the same time?

    .venv/bin/python benchmarks/deliveries.py [--database sqlite|postgresql] [--rows 1000000] [--plans]

Messages are written in bulk into a database of its own, of one account, over thirty days. Then each question is asked through
the code the pages use, nine times, and the best counts; whole pages are fetched through the application, log-in and template
included. An answer has to come within 50 ms, and within twice its time with 1,000 messages. Exits with 1 if not.
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
from sqlalchemy import event, select, text

from benchmarks.million import DAYS, fill
from portal import bootstrap, create_app
from portal.accounts.models import Owner
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db, read_only
from portal.deliveries import export, message_log, retention, rollup, stats
from portal.deliveries.filters import Filters
from tests import databases
from tests.conftest import make_config
from tests.pages import csrf_token

LIMIT, TWICE = 0.050, 2.0  # seconds, times
MAILBOX, PASSWORD = "ada@brightleaf.example", "a bench of oak by the lake"


def questions(account: int, total: int, now: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What the pages ask, by name."""

    def page(name: str, before: int | None = None, after: int | None = None, **asked: str) -> Any:
        filters = Filters.read(asked)
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
    yield page("recipient: nobody", q="nobody@nowhere.example")
    yield page("beginning and notice", q="person1", kind="approved")
    yield page("queue id", q=f"Q{total // 3}")
    yield page("Message-ID", q=f"<{total // 3}@brightleaf.example>")
    yield page("subject: word of one", q="unicorn", by="subject")
    yield page("subject: words of all", q="welcome to brightleaf", by="subject")
    yield page("subject: word of none", q="platypus", by="subject")
    yield page("subject: common word, failed", q="welcome", by="subject", status="failed")
    yield "figures of 24 hours", lambda: stats.read(account, "day", now=now)
    yield "figures of 30 days", lambda: stats.read(account, "month", now=now)
    yield "export: first 1,000", lambda: next(iter(export.batches(account, Filters.read({}))))


def pages(client: FlaskClient, total: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Whole pages, as a browser gets them."""

    def page(name: str, query: str = "") -> Any:
        def ask() -> None:
            with client.application.app_context():
                assert client.get(f"/deliveries{query}").status_code == 200

        return f"GET {name}", ask

    yield page("the log")
    yield page("the log, 30 days", "?span=month")
    yield page("the log, last page", "?before=52")
    yield page("failed of a notice", "?status=failed&kind=payout-sent")
    yield page("a recipient", f"?q=person{total // 2 * 104_729 % total}@mail{total // 2 % 40}.example")
    yield page("words of a subject", "?q=welcome+to+brightleaf&by=subject")


def sign_in(client: FlaskClient) -> None:
    with client.application.app_context():
        form = {"csrf_token": csrf_token(client.get("/log-in").get_data(as_text=True))}
        client.post("/log-in", data=form | {"mailbox": MAILBOX, "password": PASSWORD})


@contextmanager
def portal(kind: str, kept: Path | None) -> Iterator[Any]:
    with ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signet-bench-")))
        env = {}
        if kind == "postgresql":
            found = databases.binaries()
            if found is None:
                sys.exit("PostgreSQL is not installed here.")
            env["DATABASE_URL"] = stack.enter_context(databases.cluster(found)).url("postgres")
        os.environ.pop(databases.URL, None)
        app = create_app(make_config(folder / "instance", env=env))
        bootstrap.migrate(app)
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


def measure(kind: str, total: int, plans: bool, kept: Path | None = None) -> dict[str, float]:
    print(f"{kind}, {total:,} messages", file=sys.stderr, flush=True)
    now = utcnow()
    with portal(kind, kept) as app:
        account = prepare(total, now)
        with read_only():  # as a request that only looks does
            found = {name: best(ask) for name, ask in questions(account, total, now)}
            for name, ask in questions(account, total, now) if plans else ():
                explain(name, ask)
            db.session.rollback()
        client = app.test_client()
        sign_in(client)
        found |= {name: best(ask) for name, ask in pages(client, total)}
        found["removing 200 texts"] = best(lambda: retention.prune(now + timedelta(days=95)), 3)
    return found


def prepare(total: int, now: datetime) -> int:
    """Write everything, unless the folder kept it, and add up what is over; return the account."""
    owner = db.session.scalars(select(Owner)).first()
    if owner is None:
        owner = create_owner("Brightleaf", "Ada", MAILBOX, PASSWORD, now=now)
        told("filled", lambda: fill(total, owner.account_id, now))
    account: int = owner.account_id
    told("rolled up", lambda: [*iter(lambda: rollup.roll_up(now), False)])
    db.session.remove()
    db.engine.dispose()  # and with it the large cache
    return account


def told(what: str, deed: Callable[[], Any]) -> None:
    """Do something that takes long and tell how long."""
    began = time.perf_counter()
    deed()
    print(f"  {what} in {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)


def best(ask: Callable[[], Any], rounds: int = 9) -> float:
    """Return the least time an answer took, of the processors: whatever else the machine does meanwhile does not count."""
    times = []
    for _ in range(rounds):
        db.session.rollback()
        helpers = backends()
        began = used(helpers)
        ask()
        times.append(used(helpers) - began)
    db.session.rollback()
    return min(times)


def backends() -> list[Path]:
    """Return where Linux tells how long the database's processes ran. SQLite answers within this one."""
    if db.engine.dialect.name == "sqlite":
        return []
    numbers = db.session.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
    found = [Path(f"/proc/{number}/schedstat") for number in numbers]
    db.session.rollback()
    return found


def used(helpers: Sequence[Path]) -> float:
    """Return the seconds this process and its helpers have run; where nobody tells, those on the wall."""
    try:
        ran = sum(int(path.read_text().split()[0]) for path in helpers)
    except OSError:
        return time.perf_counter()
    return time.process_time() + ran / 1e9


def explain(name: str, ask: Callable[[], Any]) -> None:
    """Print the plan of every statement of a question."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        asked.append((statement, values))

    event.listen(db.engine, "before_cursor_execute", note)
    ask()
    event.remove(db.engine, "before_cursor_execute", note)
    db.session.rollback()
    print(f"\n== {name}")
    word = "EXPLAIN QUERY PLAN" if db.engine.dialect.name == "sqlite" else "EXPLAIN"
    for statement, values in asked:
        if statement.startswith("SELECT"):
            with db.engine.connect() as connection:
                rows = connection.exec_driver_sql(f"{word} {statement}", values).all()
            print("  -", " | ".join(str(row[-1]).strip() for row in rows))
    db.session.rollback()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the big SQLite database, used again by the next run"
    )
    asked = parser.parse_args()
    bad = 0
    for kind in asked.database or ["sqlite", "postgresql"]:
        few = measure(kind, 1000, False)
        many = measure(kind, asked.rows, asked.plans, asked.keep if kind == "sqlite" else None)
        print(f"\n| {kind} | 1,000 | {asked.rows:,} | |\n|---|---:|---:|---|")
        for name, seconds in many.items():
            breach = seconds > LIMIT or seconds > TWICE * few[name]
            bad += breach
            print(
                f"| {name} | {few[name] * 1000:.1f} ms | {seconds * 1000:.1f} ms | {'BREACH' if breach else ''} |"
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
