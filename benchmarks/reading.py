"""What it costs to find due work among very many messages: a sweep and each claim, with the plans of their queries.

The portal's own functions run in this process, with a watch on every statement they send, so that whatever they
ask is measured and explained.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, cast, event, insert, literal, select, text

from benchmarks.field import DATABASES, TITLES, instance, messages, sink, table
from portal.accounts.models import Account
from portal.clock import utcnow
from portal.db import db
from portal.jobs.heartbeat import find_due_work
from portal.jobs.registry import job_registry
from portal.outbox.models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from tests.storm.instance import Instance

DUE = 100  # accounts with something to send
SWEEPS = 5
_WIDE = 160  # characters of a statement or a line of its plan


@dataclass
class Watch:
    """Every statement sent while watching: how often, how long, and the last values it had."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, Any] = field(default_factory=dict)

    def before(self, connection: Connection, _cursor: Any, _words: str, *_more: Any) -> None:
        connection.info["asked"] = time.perf_counter()

    def after(self, connection: Connection, _cursor: Any, words: str, values: Any, *_more: Any) -> None:
        self.seconds[words].append(time.perf_counter() - connection.info["asked"])
        self.values[words] = values

    def slowest(self, count: int) -> list[str]:
        """The statements that took the longest, once each."""
        readers = [words for words in self.seconds if words.startswith(("SELECT", "UPDATE", "WITH"))]
        return sorted(readers, key=lambda words: -statistics.median(self.seconds[words]))[:count]


@contextmanager
def watching() -> Iterator[Watch]:
    watch, engine = Watch(), db.engine
    event.listen(engine, "before_cursor_execute", watch.before)
    event.listen(engine, "after_cursor_execute", watch.after)
    try:
        yield watch
    finally:
        event.remove(engine, "before_cursor_execute", watch.before)
        event.remove(engine, "after_cursor_execute", watch.after)


def claims(many: int = 1_000_000) -> None:
    """Measure among ``many`` messages of 10,000 accounts of which 100 are due, and among a thousandth of that."""
    for database in DATABASES:
        few = look(database, many // 1_000, DUE, explain=False)
        lots = look(database, many, 10_000, explain=True)
        rows = [
            (what, f"{few[what] * 1000:.2f}", f"{lots[what] * 1000:.2f}", f"{lots[what] / few[what]:.1f}")
            for what in few
        ]
        heads = ("median, ms", f"{many // 1_000:,} messages", f"{many:,} messages", "times as long")
        table(f"Finding due work, {TITLES[database]}", heads, rows)


def look(database: str, count: int, accounts: int, *, explain: bool) -> dict[str, float]:
    with sink() as taking, instance(database, [taking.port]) as made:
        due = made.add_accounts([taking.port] * DUE)
        with made.app.app_context():
            fill(count, accounts)
        made.owe(messages(due, 2 * DUE, since=count))
        with made.app.app_context():
            sweeps = [took(sweep, made) for _ in range(SWEEPS)]
            with watching() as watch:
                drains = [took(drain, made, account) for account in due]
            finding = watch.slowest(1)[0]
            if explain:
                with watching() as sweeping:
                    sweep(made)
                show_plans(sweeping.slowest(1), sweeping)
                show_plans(watch.slowest(2), watch)
    return {
        "a sweep": statistics.median(sweeps),
        "the slowest query of a drain": statistics.median(watch.seconds[finding]),
        "a drain of two messages, commits and server included": statistics.median(drains),
    }


def took(what: Any, *values: Any) -> float:
    started = time.perf_counter()
    what(*values)
    return time.perf_counter() - started


def sweep(made: Instance) -> None:
    find_due_work(made.app, utcnow())


def drain(made: Instance, account: int) -> None:
    job_registry(made.app).tasks["drain"].call_local(account)


def fill(count: int, accounts: int) -> None:
    """Bring the accounts up to so many, and give them settled messages, each with the attempt that was accepted."""
    now, numbers = utcnow(), select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < max(count, accounts)))
    n, word = numbers.c.n, literal("old-") + cast(numbers.c.n, String)
    more = select(n).where(n > DUE, n <= accounts)
    _insert(Account, {"slug": word, "name": word, "created_at": now}, more)
    _insert(Queue, {"account_id": n}, more)
    settled = {
        "account_id": n % accounts + 1,
        "kind": literal("new-sign-up"),
        "key": word,
        "message_id": word,
        "recipient": word,
        "subject": word,
        "text": literal("Hello"),
        "status": literal(Status.SENT, OutboxMessage.status.type),
        "attempts": literal(1),
        "created_at": now,
        "next_attempt_at": now,
        "settled_at": now,
    }
    _insert(OutboxMessage, settled, select(n).where(n <= count))
    tried = {
        "message_id": OutboxMessage.id,
        "number": literal(1),
        "started_at": now,
        "ended_at": now,
        "outcome": literal(Outcome.ACCEPTED, DeliveryAttempt.outcome.type),
    }
    _insert(DeliveryAttempt, tried, select(OutboxMessage.id))
    if db.engine.dialect.name == "postgresql":  # which does so by itself after a while
        db.session.execute(text("ANALYZE"))
        db.session.commit()


def _insert(model: Any, values: dict[str, Any], where: Any) -> None:
    columns = [value if hasattr(value, "label") else literal(value) for value in values.values()]
    rows = where.with_only_columns(*(one.label(name) for name, one in zip(values, columns, strict=True)))
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("SET LOCAL statement_timeout = 0"))  # so many rows take their time
    db.session.execute(insert(model.__table__).from_select(list(values), rows))
    db.session.commit()


def show_plans(statements: list[str], watch: Watch) -> None:
    """Print how the database goes about these statements."""
    postgresql = db.engine.dialect.name == "postgresql"
    for words in statements:
        median = statistics.median(watch.seconds[words]) * 1000
        print(f"\n{median:.2f} ms, {len(watch.seconds[words])} times:\n  {' '.join(words.split())[:_WIDE]}")
        with db.engine.connect() as connection:
            ask = "EXPLAIN " if postgresql else "EXPLAIN QUERY PLAN "
            told = watch.values[words]
            for row in connection.exec_driver_sql(ask + words, told[0] if isinstance(told, list) else told):
                print("   ", row[-1][:_WIDE])
