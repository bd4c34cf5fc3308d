"""The delivery log with 1,000 and with 1,000,000 messages: does every answer take the same time?

    .venv/bin/python benchmarks/deliveries.py [--database sqlite|postgresql] [--rows 1000000] [--plans]

Messages are written in bulk into a database of its own, of one account, over thirty days. Then each question is asked through
the code the pages use, five times, and the best counts. Exits with 1 if an answer takes more than 50 ms, or more than twice what
it takes with 1,000 messages (and more than 10 ms, below which the clock and the machine decide).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import event, insert

from portal import create_app, setup
from portal.accounts.registration import create_owner
from portal.clock import utcnow
from portal.db import db, reading
from portal.deliveries import export, figures, log, tending
from portal.deliveries.filters import Filters
from portal.outbox.models import DeliveryAttempt, OutboxMessage
from tests import databases
from tests.conftest import make_config

LIMIT, TWICE, FLOOR = 0.050, 2.0, 0.010  # seconds
DAYS = 30
KINDS = ("new-sign-up", "approved", "new-purchase", "commission-approved", "payout-sent")
STATUSES = ("sent",) * 94 + ("failed",) * 4 + ("held", "cancelled")
CHUNK = 5000


def message(number: int, total: int, account: int, now: datetime) -> dict[str, Any]:
    status = STATUSES[number * 7919 % 100]
    owed = now - timedelta(days=DAYS) * (1 - number / total) - timedelta(seconds=30)
    settled = owed + timedelta(seconds=(number * 31 % 400) / 10) if status not in ("held",) else None
    person = number * 104_729 % total
    return {
        "id": number + 1,
        "account_id": account,
        "kind": KINDS[number % len(KINDS)],
        "key": f"bench:{number}",
        "message_id": f"<{number}@brightleaf.example>",
        "recipient": f"Person{person}@{'rare' if number % 5000 == 0 else 'mail'}{number % 40}.example",
        "recipient_name": "",
        "subject": f"Welcome to Brightleaf, Person{person}{' (unicorn)' if number == total // 3 else ''}",
        "text": "A text of an ordinary length. " * 12,
        "html": "<p>A text of an ordinary length.</p>" * 12,
        "private": False,
        "urgent": False,
        "status": status,
        "attempts": 1,
        "created_at": owed,
        "next_attempt_at": owed,
        "settled_at": settled,
        "unsubscribe_url": "",
    }


def attempt(one: dict[str, Any], number: int, total: int) -> dict[str, Any]:
    sent = one["status"] == "sent"
    return {
        "message_id": one["id"],
        "number": 1,
        "version_number": 1 + number * 5 // total,
        "server": "smtp.mailgun.org:587",
        "sender": "Brightleaf <info@brightleaf.example>",
        "started_at": one["created_at"],
        "ended_at": one["settled_at"],
        "outcome": "accepted" if sent else "rejected",
        "stage": "data",
        "reply_code": 250 if sent else (552 if number % 997 == 0 else 550),
        "reply_text": "2.0.0 Ok" if sent else "5.1.1 No such user",
        "queue_id": f"Q{number}" if sent else "",
        "transcript": "     1 ms  C: EHLO signet.example\n" * 10,
        "ambiguous": False,
        "enhanced_code": "2.0.0" if sent else "5.1.1",
    }


def fill(total: int, account: int, now: datetime) -> None:
    """Write messages and attempts as they are, triggers included."""
    for start in range(0, total, CHUNK):
        rows = [message(n, total, account, now) for n in range(start, min(total, start + CHUNK))]
        tried = [attempt(row, row["id"] - 1, total) for row in rows if row["status"] != "held"]
        db.session.execute(insert(OutboxMessage), rows)
        db.session.execute(insert(DeliveryAttempt), tried)
        db.session.commit()
        if start % 100_000 == 0:
            print(f"  {start:,} messages written", file=sys.stderr, flush=True)
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def questions(account: int, total: int, now: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What the pages ask, by name."""

    def page(name: str, before: int | None = None, after: int | None = None, **asked: str) -> Any:
        filters = Filters.read(asked)
        return name, lambda: log.read(account, filters, before=before, after=after)

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
    yield "figures of 24 hours", lambda: figures.read(account, "day", now=now)
    yield "figures of 30 days", lambda: figures.read(account, "month", now=now)
    yield "export: first 1,000", lambda: next(iter(export.batches(account, Filters.read({}))))


@contextmanager
def portal(kind: str) -> Iterator[Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signet-bench-")))
        env = {}
        if kind == "postgresql":
            found = databases.binaries()
            if found is None:
                sys.exit("PostgreSQL is not installed here.")
            env["DATABASE_URL"] = stack.enter_context(databases.cluster(found)).url("postgres")
        os.environ.pop(databases.URL, None)
        app = create_app(make_config(folder / "instance", env=env))
        setup.migrate(app)
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


def measure(kind: str, total: int, plans: bool) -> dict[str, float]:
    print(f"{kind}, {total:,} messages", file=sys.stderr, flush=True)
    now = utcnow()
    with portal(kind):
        owner = create_owner(
            "Brightleaf", "Ada", "ada@brightleaf.example", "a bench of oak by the lake", now=now
        )
        account = owner.account_id
        began = time.perf_counter()
        fill(total, account, now)
        print(f"  filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        began = time.perf_counter()
        while tending.roll(now):
            pass
        print(f"  rolled up in {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        with reading():  # as a request that only looks does
            found = {name: best(ask) for name, ask in questions(account, total, now)}
            for name, ask in questions(account, total, now) if plans else ():
                explain(name, ask)
        found["removing 200 texts"] = best(lambda: tending.prune(now + timedelta(days=95)), 3)
    return found


def best(ask: Callable[[], Any], rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        db.session.rollback()
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    db.session.rollback()
    return min(times)


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
    asked = parser.parse_args()
    bad = 0
    for kind in asked.database or ["sqlite", "postgresql"]:
        few, many = (measure(kind, rows, asked.plans and rows > 1000) for rows in (1000, asked.rows))
        print(f"\n| {kind} | 1,000 | {asked.rows:,} | |\n|---|---:|---:|---|")
        for name, seconds in many.items():
            breach = seconds > LIMIT or seconds > max(TWICE * few[name], FLOOR)
            bad += breach
            print(
                f"| {name} | {few[name] * 1000:.1f} ms | {seconds * 1000:.1f} ms | {'BREACH' if breach else ''} |"
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
