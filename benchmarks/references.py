"""Benchmark of what bounces cost on the way out: each message has a reference, by which an event of a provider names it.

"Without" leaves out the reference with its header and ENVID, and from the table of the log the column and the index of outcomes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import flask.cli
import psycopg
from sqlalchemy import select, text

from benchmarks.harness import WARM_UP, Sink, cpu_seconds, messages, print_table, rate, run_instance, run_sink
from portal.clock import utcnow
from portal.db import db
from portal.outbox.models import OutboxMessage
from portal.outbox.reference import HEADER
from portal.outbox.sending import message
from portal.settings.routing import route_for
from tests import databases
from tests.storm.instance import EXIT_TIMEOUT_S, ROOT, Instance

WITH, WITHOUT = "with", "without"
ROUNDS = 12
_COMPOSED = 200  # messages in one turn
_TURNS = 25
_THREADS = 4
_SETTINGS = ("shared_preload_libraries=pg_stat_statements",)
# What runs for every second message or more often; sweeps and leases depend on how long the drain takes.
_STATEMENTS = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE calls >= %s AND query NOT LIKE '%%pg_stat_%%'"
_COLUMN = ("DROP INDEX ix_delivery_log_outcome", "ALTER TABLE delivery_log DROP COLUMN outcome")


def compare_references(count: int = 2_000) -> None:
    """Compare composing a message, and the drain of a worker process, with references and without, in turns."""
    composed = _measure_composing()
    with run_sink() as sink:
        drained: dict[str, list[tuple[float, float]]] = {WITH: [], WITHOUT: []}
        for number in range(ROUNDS):
            for how in (WITH, WITHOUT) if number % 2 == 0 else (WITHOUT, WITH):
                drained[how].append(_drain(sink, how, count))
        counted = {how: _count_statements(sink, how, count) for how in (WITH, WITHOUT)}
    rows = []
    for how in (WITHOUT, WITH):
        cpu = sorted(used for _, used in drained[how])
        rows.append(
            (
                f"{how} references",
                f"{composed[how]:.1f}",
                f"{cpu[0]:.2f}",
                f"{statistics.median(cpu):.2f}",
                f"{max(value for value, _ in drained[how]):,.0f}",
                counted[how] and f"{counted[how]:.2f}",
            )
        )
    heads = (
        "",
        "composing, µs",
        "worker's processor, least, ms",
        "median, ms",
        "messages/s, most",
        "statements a message, PostgreSQL",
    )
    print_table(f"One message, of {ROUNDS} drains of {count:,} on SQLite each way, in turns", heads, rows)
    more = [one - other for (_, one), (_, other) in zip(drained[WITH], drained[WITHOUT], strict=True)]
    print(
        f"\nWith references less without, ms of a pair: median {statistics.median(more):+.2f}, "
        f"{min(more):+.2f} to {max(more):+.2f}; above zero in {sum(one > 0 for one in more)} of {ROUNDS}"
    )


def _measure_composing() -> dict[str, float]:
    """Return the processor time in microseconds of composing one message, the least of the turns, each way."""
    turns: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    with run_instance("sqlite", [2525]) as instance:
        instance.enqueue(messages(instance.add_accounts([2525]), _COMPOSED))
        with instance.app.app_context():
            rows = db.session.scalars(select(OutboxMessage)).all()
            route, now = route_for(rows[0].account_id), utcnow()
            for _ in range(_TURNS):
                turns[WITH].append(_compose(rows, route, now))
                with _left_out():
                    turns[WITHOUT].append(_compose(rows, route, now))
            db.session.remove()
    return {how: min(times) for how, times in turns.items()}


def _compose(rows: Sequence[OutboxMessage], route: Any, now: datetime) -> float:
    started = time.process_time()
    for row in rows:
        message.AccountMessage(row, route, now=now).outgoing()
    return (time.process_time() - started) / len(rows) * 1e6


@contextmanager
def _left_out() -> Iterator[None]:
    """Compose messages without reference within the block."""
    kept = message.reference_of, message._headers

    def headers(*arguments: Any) -> dict[str, str]:
        found = kept[1](*arguments)
        del found[HEADER]
        return found

    message.reference_of, message._headers = lambda _id: "", headers
    try:
        yield
    finally:
        message.reference_of, message._headers = kept


@contextmanager
def _prepared(database: str, sink: Sink, how: str, count: int) -> Iterator[Instance]:
    """Yield an instance with a queue, whose table of the log has no outcomes for the way without."""
    with run_instance(database, [sink.port]) as instance:
        if how == WITHOUT:
            with instance.app.app_context():
                for statement in _COLUMN:
                    db.session.execute(text(statement))
                db.session.commit()
                db.session.remove()
                db.engine.dispose()
        instance.enqueue(messages(instance.add_accounts([sink.port]), WARM_UP + count))
        sink.reset()
        yield instance


@contextmanager
def _worker(instance: Instance, how: str) -> Iterator[int]:
    """Run a worker process that composes messages this way; yield its process id."""
    command = [sys.executable, "-m", "benchmarks.references", how]
    with instance.log.open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=instance.env, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait(EXIT_TIMEOUT_S)


def _drain(sink: Sink, how: str, count: int) -> tuple[float, float]:
    """Return messages/s of a drain on SQLite, and the worker's processor time for a message in milliseconds."""
    with _prepared("sqlite", sink, how, count) as instance, _worker(instance, how) as pid:
        counted_from = len(sink.wait_for(WARM_UP))
        before = cpu_seconds(pid)
        accepted_at = sink.wait_for(WARM_UP + count)
        used = cpu_seconds(pid) - before
        return rate(accepted_at), 1000 * used / max(1, len(accepted_at) - counted_from)


def _count_statements(sink: Sink, how: str, count: int) -> float | str:
    """Return the statements of a drain on PostgreSQL for each message; an empty text where it is not installed."""
    if databases.binaries() is None:
        return ""
    durable = databases.DURABLE
    databases.DURABLE = (*durable, *_SETTINGS)
    try:
        with _prepared("postgresql", sink, how, count) as instance:
            url = instance.database_url
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
                with _worker(instance, how):
                    counted_from = len(sink.wait_for(WARM_UP))
                    connection.execute("SELECT pg_stat_statements_reset()")
                    accepted = len(sink.wait_for(WARM_UP + count))
                    (calls,) = connection.execute(_STATEMENTS, [count / 2]).fetchone() or (0,)
                    return float(calls) / max(1, accepted - counted_from)
    finally:
        databases.DURABLE = durable


def run_worker(how: str) -> None:
    """Run ``flask worker`` in this process, which composes messages with references or without."""
    sys.argv = ["flask", "--app", "wsgi", "worker", "--threads", str(_THREADS)]
    with _left_out() if how == WITHOUT else nullcontext():
        flask.cli.main()


if __name__ == "__main__":
    run_worker(sys.argv[1])
