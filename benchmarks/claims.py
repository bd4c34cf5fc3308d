"""Benchmark of a sweep and of claims among many messages, with the query plans.

The portal's own functions run in this process, and an event listener times every statement, so that each of their
queries is measured and explained.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, cast, event, insert, literal, select, text

from benchmarks.harness import DATABASES, TITLES, messages, print_table, run_instance, run_sink
from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.jobs.heartbeat import find_due_work
from portal.jobs.registry import job_registry
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from tests.storm.instance import Instance

DUE_ACCOUNTS = 100  # with messages to send
SWEEPS = 5
_LINE_CHARS = 160  # of a statement or a line of its plan


@dataclass
class StatementTimes:
    """The durations and the last parameters of each SQL statement."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    parameters: dict[str, Any] = field(default_factory=dict)

    def before(self, connection: Connection, _cursor: Any, _statement: str, *_rest: Any) -> None:
        connection.info["started"] = time.perf_counter()

    def after(
        self, connection: Connection, _cursor: Any, statement: str, parameters: Any, *_rest: Any
    ) -> None:
        self.seconds[statement].append(time.perf_counter() - connection.info["started"])
        self.parameters[statement] = parameters

    def slowest(self, count: int) -> list[str]:
        """Return the statements with the longest median duration."""
        queries = [one for one in self.seconds if one.startswith(("SELECT", "UPDATE", "WITH"))]
        return sorted(queries, key=lambda one: -statistics.median(self.seconds[one]))[:count]


@contextmanager
def timed_statements() -> Iterator[StatementTimes]:
    times, engine = StatementTimes(), db.engine
    event.listen(engine, "before_cursor_execute", times.before)
    event.listen(engine, "after_cursor_execute", times.after)
    try:
        yield times
    finally:
        event.remove(engine, "before_cursor_execute", times.before)
        event.remove(engine, "after_cursor_execute", times.after)


def compare_claims(many: int = 1_000_000) -> None:
    """Compare ``many`` messages of 10,000 accounts, 100 of which are due, with a thousandth of the messages."""
    for database in DATABASES:
        few = measure(database, many // 1_000, DUE_ACCOUNTS, explain=False)
        lots = measure(database, many, 10_000, explain=True)
        rows = [
            (name, f"{few[name] * 1000:.2f}", f"{lots[name] * 1000:.2f}", f"{lots[name] / few[name]:.1f}")
            for name in few
        ]
        heads = ("median, ms", f"{many // 1_000:,} messages", f"{many:,} messages", "times as long")
        print_table(f"Finding due work, {TITLES[database]}", heads, rows)


def measure(database: str, count: int, accounts: int, *, explain: bool) -> dict[str, float]:
    """Return durations in seconds by the name of the table's row."""
    with run_sink() as sink, run_instance(database, [sink.port]) as instance:
        due_accounts = instance.add_accounts([sink.port] * DUE_ACCOUNTS)
        with instance.app.app_context():
            fill(count, accounts)
        instance.enqueue(messages(due_accounts, 2 * DUE_ACCOUNTS, since=count))
        with instance.app.app_context():
            sweeps = [duration_s(sweep, instance) for _ in range(SWEEPS)]
            with timed_statements() as drain_times:
                drains = [duration_s(drain, instance, account) for account in due_accounts]
            slowest = drain_times.slowest(1)[0]
            if explain:
                with timed_statements() as sweep_times:
                    sweep(instance)
                print_plans(sweep_times.slowest(1), sweep_times)
                print_plans(drain_times.slowest(2), drain_times)
    return {
        "a sweep": statistics.median(sweeps),
        "the slowest query of a drain": statistics.median(drain_times.seconds[slowest]),
        "a drain of two messages, commits and server included": statistics.median(drains),
    }


def duration_s(function: Callable[..., object], *arguments: Any) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def sweep(instance: Instance) -> None:
    find_due_work(instance.app, utcnow())


def drain(instance: Instance, account: int) -> None:
    job_registry(instance.app).tasks["drain"].call_local(account)


def fill(count: int, accounts: int) -> None:
    """Create the missing accounts and ``count`` settled messages, each with an accepted attempt. Commits."""
    now, numbers = utcnow(), select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < max(count, accounts)))
    n, text_key = numbers.c.n, literal("old-") + cast(numbers.c.n, String)
    missing = select(n).where(n > DUE_ACCOUNTS, n <= accounts)
    _insert(Account, {"slug": text_key, "name": text_key, "created_at": now}, missing)
    _insert(Queue, {"account_id": n}, missing)
    settled = {
        "account_id": n % accounts + 1,
        "kind": literal("new-sign-up"),
        "key": text_key,
        "message_id": text_key,
        "recipient": text_key,
        "subject": text_key,
        "text": literal("Hello"),
        "status": literal(Status.SENT, OutboxMessage.status.type),
        "attempts": literal(1),
        "created_at": now,
        "next_attempt_at": now,
        "settled_at": now,
    }
    _insert(OutboxMessage, settled, select(n).where(n <= count))
    attempts = {
        "message_id": OutboxMessage.id,
        "number": literal(1),
        "started_at": now,
        "ended_at": now,
        "outcome": literal(Outcome.ACCEPTED, DeliveryAttempt.outcome.type),
    }
    _insert(DeliveryAttempt, attempts, select(OutboxMessage.id))
    if db.engine.dialect.name == "postgresql":  # autovacuum would do it later
        db.session.execute(text("ANALYZE"))
        db.session.commit()


def _insert(model: Any, values: dict[str, Any], where: Any) -> None:
    columns = [value if hasattr(value, "label") else literal(value) for value in values.values()]
    rows = where.with_only_columns(*(one.label(name) for name, one in zip(values, columns, strict=True)))
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("SET LOCAL statement_timeout = 0"))  # so many rows exceed the usual limit
    db.session.execute(insert(model.__table__).from_select(list(values), rows))
    db.session.commit()


def print_plans(statements: list[str], times: StatementTimes) -> None:
    """Print the query plan of each statement."""
    explain = "EXPLAIN" if db.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    for statement in statements:
        median_ms = statistics.median(times.seconds[statement]) * 1000
        line = " ".join(statement.split())[:_LINE_CHARS]
        print(f"\n{median_ms:.2f} ms, {len(times.seconds[statement])} times:\n  {line}")
        with db.engine.connect() as connection:
            parameters = times.parameters[statement]
            if isinstance(parameters, list):
                parameters = parameters[0]
            for row in connection.exec_driver_sql(f"{explain} {statement}", parameters):
                print("   ", row[-1][:_LINE_CHARS])
