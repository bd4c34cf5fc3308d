"""How fast what is owed leaves, how much memory that takes, and how soon a single message is picked up."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.field import (
    DATABASES,
    TITLES,
    WARM_UP,
    Sink,
    instance,
    messages,
    nodemailer_sends,
    percentile,
    post_office,
    post_office_drains,
    rate,
    sink,
    table,
)
from benchmarks.smtp import beside, nodemailer

ROUNDS = 3


def drain_once(
    database: str,
    taking: Sink,
    port: int,
    *,
    accounts: int,
    count: int,
    workers: int = 1,
    threads: int = 4,
    **variables: str,
) -> float:
    """Owe messages, let fresh workers send them, and return how many a second the server took."""
    with instance(database, [port]) as made:
        idents = made.add_accounts([port] * accounts)
        made.owe(messages(idents, WARM_UP + count))
        taking.forget()
        with made.workers(workers, threads, **variables):
            return rate(taking.wait_for(WARM_UP + count))


def drain(count: int = 2_000) -> None:
    """Compare one worker on SQLite with django-post_office and with nodemailer, which keeps nothing."""
    with sink() as taking, post_office() as office, nodemailer() as node:
        best: dict[str, float] = {}
        cpu = str(max(os.sched_getaffinity(0)))

        def note(who: str, value: float) -> None:
            best[who] = max(best.get(who, 0.0), value)

        for _ in range(ROUNDS):
            note("Signet, one account", drain_once("sqlite", taking, taking.port, accounts=1, count=count))
            note("Signet, four accounts", drain_once("sqlite", taking, taking.port, accounts=4, count=count))
            note(
                "Signet, four accounts, SIGNET_CPU",
                drain_once("sqlite", taking, taking.port, accounts=4, count=count, SIGNET_CPU=cpu),
            )
            if office:
                taking.forget()
                post_office_drains(office[0], taking.port, WARM_UP + count)
                note(f"django-post_office {office[1]}, its defaults", rate(taking.moments()))
            if node:
                note(
                    f"nodemailer {node[1]}, pool of one, no queue",
                    nodemailer_sends(node[0], taking.port, count, 1),
                )
    beside_signet("Durable drain on SQLite, one worker process", "Signet, one account", best)


def beside_signet(title: str, signet: str, rates: dict[str, float]) -> None:
    """Print how many times as much Signet sends as each other."""
    rows = [(who, f"{value:,.0f}", f"{rates[signet] / value:.1f}") for who, value in rates.items()]
    table(title, ("client", "messages/s", "Signet's multiple"), rows)


def road(count: int = 3_000) -> None:
    """Compare one account, which opens up to four connections, over 20 ms there and back with a pool of five."""
    with sink() as taking, beside("road", str(taking.port), "0.010") as far, nodemailer() as node:
        mine = drain_once("sqlite", taking, far, accounts=1, count=count)
        rates = {"Signet, one worker, four connections": mine}
        if node:
            rates[f"nodemailer {node[1]}, pool of five"] = nodemailer_sends(node[0], far, count, 5)
    beside_signet("Over a road of 20 ms there and back", "Signet, one worker, four connections", rates)


def scaling(total: int = 2560) -> None:
    """Let 1, 2 and 4 workers of 16 connections on PostgreSQL send for 64 accounts to servers that are far away.

    They are so far away that it is the waiting that takes the time: where one worker keeps all processors busy,
    the others can add nothing.
    """
    with sink() as taking, beside("road", str(taking.port), "0.2") as far:
        rates = {
            count: drain_once("postgresql", taking, far, accounts=64, count=total, workers=count, threads=1)
            for count in (1, 2, 4)
        }
    rows = [(n, f"{value:,.0f}", f"{value / rates[1] / n:.2f}") for n, value in rates.items()]
    table("Workers on PostgreSQL, servers 0.4 s there and back", ("workers", "messages/s", "of linear"), rows)


def memory(count: int = 100_000) -> None:
    """Watch one worker's memory while it drains very many messages."""
    with sink() as taking, instance("sqlite", [taking.port]) as made:
        made.owe(messages(made.add_accounts([taking.port] * 4), count))
        with made.workers(1) as (worker,):
            samples = _watch(worker.process.pid, taking, count)
    marks = [samples[int(len(samples) * part) - 1] for part in (0.1, 0.25, 0.5, 0.75, 1.0)]
    rows = [(f"{taken:,}", f"{octets / 2**20:.0f}") for taken, octets in marks]
    table(f"Memory of one worker while it drains {count:,} messages", ("sent", "MiB"), rows)
    print(f"\nAt most {max(octets for _, octets in samples) / 2**20:.0f} MiB.")


def _watch(pid: int, taking: Sink, count: int) -> Sequence[tuple[int, int]]:
    samples = []
    while (taken := len(taking.moments())) < count:
        time.sleep(0.5)
        if taken:
            samples.append((taken, resident(pid)))
    return [*samples, (count, resident(pid))]


def resident(pid: int) -> int:
    """Octets of memory a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def pick_up(count: int = 60) -> None:
    """Measure from the commit that owes a message to its acceptance, while nothing else goes on."""
    rows = []
    for database in DATABASES:
        with sink() as taking, instance(database, [taking.port]) as made:
            accounts = made.add_accounts([taking.port] * 4)
            with made.workers(1):
                waits = _one_by_one(made, accounts, taking, count)
        figures = (statistics.median(waits), percentile(waits, 0.95), max(waits))
        rows.append((TITLES[database], *(f"{wait * 1000:.0f}" for wait in figures)))
    table("From the commit to the acceptance, idle", ("database", "p50, ms", "p95, ms", "longest, ms"), rows)


def _one_by_one(made: object, accounts: Sequence[int], taking: Sink, count: int) -> list[float]:
    waits = []
    for number in range(count + 5):
        made.owe(messages(accounts, 1, since=number))  # type: ignore[attr-defined]
        committed = time.time()
        taking.wait_for(number + 1)
        waits.append(taking.moments()[-1] - committed)
    return waits[5:]  # the first ones wait for the worker to start
