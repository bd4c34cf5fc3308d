"""Benchmarks of the drain: messages per second, memory, and the time from a commit to the acceptance."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from benchmarks.harness import (
    DATABASES,
    TITLES,
    WARM_UP,
    Sink,
    cpu_seconds,
    drain_post_office,
    install_post_office,
    messages,
    nodemailer_rate,
    percentile,
    print_table,
    rate,
    run_instance,
    run_sink,
)
from benchmarks.postfix import postfix_rate
from benchmarks.smtp import nodemailer, run_helper
from portal.config import Record
from portal.db import db
from portal.outbox.models import OutboxMessage
from tests.storm.instance import Instance
from tests.storm.records import count_unsettled

ROUNDS = 3


def measure_drain(
    database: str,
    sink: Sink,
    port: int,
    *,
    accounts: int,
    count: int,
    workers: int = 1,
    threads: int = 4,
    **variables: str,
) -> float:
    """Enqueue messages, let new workers send them, and return the rate of the server, messages/s."""
    drained = measure_with_cpu(
        database,
        sink,
        port,
        accounts=accounts,
        count=count,
        workers=workers,
        threads=threads,
        **variables,
    )
    return drained[0]


def measure_with_cpu(
    database: str,
    sink: Sink,
    port: int,
    *,
    accounts: int,
    count: int,
    workers: int = 1,
    threads: int = 4,
    **variables: str,
) -> tuple[float, float]:
    """Measure as ``measure_drain`` does; return the rate and the workers' processor time for a message, in milliseconds."""
    with run_instance(database, [port]) as instance:
        ids = instance.add_accounts([port] * accounts)
        instance.enqueue(messages(ids, WARM_UP + count))
        sink.reset()
        with instance.workers(workers, threads, **variables) as running:
            counted_from = len(sink.wait_for(WARM_UP))
            before = sum(cpu_seconds(one.process.pid) for one in running)
            accepted_at = sink.wait_for(WARM_UP + count)
            used = sum(cpu_seconds(one.process.pid) for one in running) - before
            return rate(accepted_at), 1000 * used / max(1, len(accepted_at) - counted_from)


def compare_drains(count: int = 2_000) -> None:
    """Compare one worker on SQLite with django-post_office and with nodemailer, which has no queue on disk."""
    with run_sink() as sink, install_post_office() as post_office, nodemailer() as node:
        best: dict[str, float] = {}
        cpu = str(max(os.sched_getaffinity(0)))

        def record(client: str, value: float) -> None:
            best[client] = max(best.get(client, 0.0), value)

        for _ in range(ROUNDS):
            record("Signet, one account", measure_drain("sqlite", sink, sink.port, accounts=1, count=count))
            record("Signet, four accounts", measure_drain("sqlite", sink, sink.port, accounts=4, count=count))
            record(
                "Signet, four accounts, SIGNET_CPU",
                measure_drain("sqlite", sink, sink.port, accounts=4, count=count, SIGNET_CPU=cpu),
            )
            if post_office:
                sink.reset()
                drain_post_office(post_office[0], sink.port, WARM_UP + count)
                record(f"django-post_office {post_office[1]}, its defaults", rate(sink.accepted_at()))
            if node:
                record(
                    f"nodemailer {node[1]}, pool of one, no queue",
                    nodemailer_rate(node[0], sink.port, count, 1),
                )
    print_ratios("Durable drain on SQLite, one worker process", "Signet, one account", best)


def compare_drains_on_postgresql(count: int = 2_000) -> None:
    """Compare one worker on PostgreSQL, by both values of SIGNET_RECORD, with django-post_office there and with Postfix."""
    with run_sink() as sink, install_post_office() as post_office:
        best: dict[str, float] = {}
        cpu: dict[str, float] = {}
        peer = f"django-post_office {post_office[1]}, its defaults" if post_office else ""

        def record(client: str, value: float, cpu_ms: float | None = None) -> None:
            best[client] = max(best.get(client, 0.0), value)
            if cpu_ms is not None:
                cpu[client] = min(cpu.get(client, cpu_ms), cpu_ms)

        for _ in range(ROUNDS):
            for how in Record:
                for accounts in (1, 4):
                    value, cpu_ms = measure_with_cpu(
                        "postgresql", sink, sink.port, accounts=accounts, count=count, SIGNET_RECORD=how
                    )
                    record(f"Signet, SIGNET_RECORD={how}, accounts: {accounts}", value, cpu_ms)
            if post_office:
                sink.reset()
                drain_post_office(post_office[0], sink.port, WARM_UP + count, "postgresql")
                record(peer, rate(sink.accepted_at()))
            relayed = postfix_rate(sink, count)
            if relayed:
                record("Postfix, queued to disk and relayed at the same time", relayed)
    rows = [
        (
            client,
            f"{value:,.0f}",
            f"{value / best[peer]:.2f}" if peer else "",
            f"{cpu[client]:.2f}" if client in cpu else "",
        )
        for client, value in best.items()
    ]
    heads = ("client", "messages/s", "of django-post_office", "worker's processor, ms a message")
    print_table("Durable drain on PostgreSQL, one worker process", heads, rows)


def print_ratios(title: str, signet: str, rates: dict[str, float]) -> None:
    """Print the rate of each client and Signet's rate divided by it."""
    rows = [(client, f"{value:,.0f}", f"{rates[signet] / value:.1f}") for client, value in rates.items()]
    print_table(title, ("client", "messages/s", "Signet's multiple"), rows)


def compare_with_delay(count: int = 3_000) -> None:
    """Compare one account with up to four connections and a pool of five, at a round trip of 20 ms."""
    with run_sink() as sink, run_helper("road", str(sink.port), "0.010") as proxy, nodemailer() as node:
        signet = measure_drain("sqlite", sink, proxy, accounts=1, count=count)
        rates = {"Signet, one worker, four connections": signet}
        if node:
            rates[f"nodemailer {node[1]}, pool of five"] = nodemailer_rate(node[0], proxy, count, 5)
    print_ratios("With a round trip of 20 ms", "Signet, one worker, four connections", rates)


def measure_scaling(total: int = 2560) -> None:
    """Let 1, 2 and 4 workers of 16 connections on PostgreSQL send for 64 accounts to distant servers.

    The round trip is long enough that waiting takes the time: where one worker keeps all processors busy, others add
    nothing.
    """
    with run_sink() as sink, run_helper("road", str(sink.port), "0.2") as proxy:
        rates = {
            count: measure_drain(
                "postgresql", sink, proxy, accounts=64, count=total, workers=count, threads=1
            )
            for count in (1, 2, 4)
        }
    rows = [(n, f"{value:,.0f}", f"{value / rates[1] / n:.2f}") for n, value in rates.items()]
    print_table(
        "Workers on PostgreSQL, servers with a round trip of 0.4 s",
        ("workers", "messages/s", "of linear"),
        rows,
    )


def measure_two_workers(total: int = 4_800) -> None:
    """Let one and two workers on PostgreSQL send for 16 accounts with a connection each, at a round trip of 20 ms.

    A connection that waits for two round trips a message cannot send more than 25 messages/s, and about twice as many where
    envelopes are pipelined: where one worker nearly reaches that, a second one adds nothing.
    """
    accounts = 16
    rows = []
    with run_sink() as sink, run_helper("road", str(sink.port), "0.010") as proxy:
        for count in (1, 2):
            with run_instance("postgresql", [proxy], SIGNET_CONNECTIONS=str(accounts)) as instance:
                ids = instance.add_accounts([proxy] * accounts)
                instance.enqueue(messages(ids, WARM_UP + total))
                sink.reset()
                with instance.workers(count, threads=1) as running:
                    counted_from = len(sink.wait_for(WARM_UP))
                    before = sum(cpu_seconds(one.process.pid) for one in running)
                    accepted_at = sink.wait_for(WARM_UP + total)
                    used = sum(cpu_seconds(one.process.pid) for one in running) - before
                    waits = _waits_by_account(instance)
            cpu_ms = 1000 * used / max(1, len(accepted_at) - counted_from)
            median = statistics.median(waits)
            rows.append((count, rate(accepted_at), cpu_ms, median, max(waits) / median))
    print_table(
        "16 accounts with a connection each on PostgreSQL, round trip of 20 ms",
        (
            "workers",
            "messages/s",
            "times one",
            "workers' processor, ms a message",
            "wait of an account, median, s",
            "longest / median",
        ),
        [
            (n, f"{value:,.0f}", f"{value / rows[0][1]:.2f}", f"{cpu:.2f}", f"{wait:.1f}", f"{longest:.2f}")
            for n, value, cpu, wait, longest in rows
        ],
    )


def _waits_by_account(instance: Instance) -> list[float]:
    """Return how long the messages of each account waited on average, from their commit to their settlement, in seconds."""
    waits: dict[int, list[float]] = {}
    while count_unsettled(instance):
        time.sleep(0.1)
    with instance.app.app_context():
        for row in db.session.execute(
            select(OutboxMessage.account_id, OutboxMessage.created_at, OutboxMessage.settled_at)
        ):
            waits.setdefault(row.account_id, []).append((row.settled_at - row.created_at).total_seconds())
    return [statistics.mean(found) for found in waits.values()]


def measure_memory(count: int = 100_000) -> None:
    """Sample the memory of one worker while it drains a large queue."""
    with run_sink() as sink, run_instance("sqlite", [sink.port]) as instance:
        instance.enqueue(messages(instance.add_accounts([sink.port] * 4), count))
        with instance.workers(1) as (worker,):
            samples = _sample_memory(worker.process.pid, sink, count)
    marks = [samples[int(len(samples) * part) - 1] for part in (0.1, 0.25, 0.5, 0.75, 1.0)]
    rows = [(f"{sent:,}", f"{size / 2**20:.0f}") for sent, size in marks]
    print_table(f"Memory of one worker while it drains {count:,} messages", ("sent", "MiB"), rows)
    print(f"\nAt most {max(size for _, size in samples) / 2**20:.0f} MiB.")


def _sample_memory(pid: int, sink: Sink, count: int) -> Sequence[tuple[int, int]]:
    """Return pairs of messages sent and resident bytes."""
    samples = []
    while (sent := len(sink.accepted_at())) < count:
        time.sleep(0.5)
        if sent:
            samples.append((sent, resident_bytes(pid)))
    return [*samples, (count, resident_bytes(pid))]


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def measure_pickup(count: int = 60) -> None:
    """Measure the time from the commit of a single message to its acceptance, on an idle instance."""
    rows = []
    for database in DATABASES:
        with run_sink() as sink, run_instance(database, [sink.port]) as instance:
            accounts = instance.add_accounts([sink.port] * 4)
            with instance.workers(1):
                waits = _send_single_messages(instance, accounts, sink, count)
        columns = (statistics.median(waits), percentile(waits, 0.95), max(waits))
        rows.append((TITLES[database], *(f"{wait * 1000:.0f}" for wait in columns)))
    heads = ("database", "p50, ms", "p95, ms", "longest, ms")
    print_table("From the commit to the acceptance, idle", heads, rows)


def _send_single_messages(instance: Instance, accounts: Sequence[int], sink: Sink, count: int) -> list[float]:
    waits = []
    for number in range(count + 5):
        instance.enqueue(messages(accounts, 1, since=number))
        committed = time.time()
        sink.wait_for(number + 1)
        waits.append(sink.accepted_at()[-1] - committed)
    return waits[5:]  # the first messages wait for the start of the worker
