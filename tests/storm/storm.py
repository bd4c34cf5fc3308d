"""A storm: workers are killed and the database crashes while messages go to good and faulty mail servers."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from portal.db import db, read_only
from portal.jobs.models import WorkerHeartbeat
from portal.outbox.queue import NewMessage
from tests.databases import Cluster

from .guarantees import RunRecord, Violation, find_violations
from .instance import EXIT_TIMEOUT_S, ROOT, Instance, Worker
from .records import count_unsettled, read_log, read_tables

_ENVIRONMENT = {  # shortens a storm to minutes; a retry delay of 60 s becomes 0.24 s
    "SIGNET_RETRY_PACE": "0.004",
    "SIGNET_LEASE_SECONDS": "6",
    "SIGNET_SWEEP_SECONDS": "0.5",
}
_MIN_ACTIVE = 2  # workers with a heartbeat, before one of them is ended
_LAST_STOP_AT = 0.95  # share of the messages that is settled; after it no worker is ended


@dataclass(frozen=True)
class Plan:
    messages: int
    behaviours: tuple[str, ...]  # of the mail servers; each has an account
    workers: int = 4
    interval_s: float = 1.0  # between two workers that are ended
    min_stops: int = 0  # messages are enqueued again until so many workers have been ended
    max_stops: int = 1_000
    graceful: bool = False  # SIGTERM and a wait for the exit, instead of SIGKILL
    recover_after_s: float = 30.0  # until the silent servers answer
    crash_after_s: float | None = None  # until the database crashes and is started again
    reply_seconds: int | None = None  # the reply time of every account's settings
    timeout_s: float = 600.0


SHORT = Plan(
    messages=900,
    behaviours=("good", "slow", "busy", "refusing", "closing", "silent"),
    workers=2,
    interval_s=0.5,
    min_stops=3,
    max_stops=5,
    recover_after_s=3,
    timeout_s=1_200,  # on a busy machine; 20 s are usual
)


def late_plan(seconds: int) -> Plan:
    """Return a storm against servers that accept a message so many seconds after its final dot, RFC 5321 section 4.5.3.2.

    That is longer than the leases, and than the deadline of a conversation without a reply time.
    """
    return Plan(
        messages=8,
        behaviours=(f"late:{seconds}", f"late:{seconds}", "good", "slow"),
        max_stops=2,
        recover_after_s=0,
        reply_seconds=600,
        timeout_s=1_200 + 6 * seconds,
    )


@dataclass(frozen=True)
class Report:
    """The result of a storm."""

    record: RunRecord
    violations: list[Violation]
    behaviours: dict[int, str]  # by account
    seconds: float
    waits_s: dict[int, list[float]] = field(default_factory=dict)  # by account: until each 250
    crashes: int = 0  # of the database
    terminated: int = 0  # workers that got SIGTERM
    failed_terminations: int = 0  # of these, the ones that did not exit with 0


class MailServers:
    """The process of the mail servers."""

    def __init__(self, log: Path, behaviours: tuple[str, ...]) -> None:
        log.touch()
        command = [sys.executable, "-m", "tests.storm.sink", str(log), *behaviours]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        self.ports: list[int] = json.loads(self.process.stdout.readline())

    def recover(self) -> None:
        """Let the silent servers answer from now on."""
        self.process.stdin.write("recover\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(EXIT_TIMEOUT_S)
        self.process.stdout.close()


@contextmanager
def mail_servers(log: Path, behaviours: tuple[str, ...]) -> Iterator[MailServers]:
    servers = MailServers(log, behaviours)
    try:
        yield servers
    finally:
        servers.close()


def run_storm(plan: Plan, folder: Path, database_url: str = "", cluster: Cluster | None = None) -> Report:
    """Run one storm in an empty folder until every message is settled or the time limit, then check it."""
    log = folder / "sink.jsonl"
    with mail_servers(log, plan.behaviours) as servers:
        instance = Instance(folder / "instance", servers.ports, database_url, _ENVIRONMENT)
        accounts = instance.add_accounts(servers.ports, plan.reply_seconds)
        run = StormRun(plan, instance, servers, accounts, cluster)
        run.enqueue_messages()
        started = time.time()
        with instance.workers(plan.workers) as workers:
            run.run(workers)
        seconds = time.time() - started
        rows = read_tables(instance)
        instance.close()
    record = RunRecord(run.enqueued, rows, read_log(log), run.kills)
    return Report(
        record,
        find_violations(record),
        dict(zip(accounts, plan.behaviours, strict=True)),
        seconds,
        waits_s(record, started),
        run.crashes,
        run.stops - len(run.kills),
        run.failed_terminations,
    )


def messages(plan: Plan, accounts: list[int], first: int) -> Iterator[tuple[int, NewMessage]]:
    """Yield the messages, one account after the other: a few for each recipient, and some unknown recipients."""
    numbers = range(first, first + plan.messages)
    targets = itertools.cycle(zip(accounts, plan.behaviours, strict=True))
    for number, (account, behaviour) in zip(numbers, targets, strict=False):
        recipient = number // len(accounts) % max(1, plan.messages // len(accounts) // 4)
        unknown = behaviour == "refusing" and recipient % 10 == 3
        key = f"{account}-{number}"
        yield (
            account,
            NewMessage(
                kind="new-sign-up",
                key=key,
                recipient=f"{'gone' if unknown else 'affiliate'}-{recipient}@account-{account}.example",
                subject=f"Storm {key}",
                text=f"Hello,\n\nthis is message {key}.\n" + "This line fills the message.\n" * 20,
                html=f"<p>Hello, this is message {key}.</p>" + "<p>This line fills the message.</p>" * 20,
            ),
        )


def waits_s(record: RunRecord, started: float) -> dict[int, list[float]]:
    """Return by account how long each message waited for its first 250."""
    found: dict[int, list[float]] = {}
    for row in record.rows:
        confirmed_at = record.confirmed_at(row.key)
        if confirmed_at is not None:
            found.setdefault(row.account, []).append(confirmed_at - started)
    return found


@dataclass
class StormRun:
    """Ends workers and crashes the database while the messages are sent."""

    plan: Plan
    instance: Instance
    servers: MailServers
    accounts: list[int]
    cluster: Cluster | None
    enqueued: list[str] = field(default_factory=list)  # keys
    workers: list[Worker] = field(default_factory=list)
    kills: dict[str, float] = field(default_factory=dict)
    crashes: int = 0
    failed_terminations: int = 0
    stops: int = 0

    def enqueue_messages(self) -> None:
        new = list(messages(self.plan, self.accounts, len(self.enqueued)))
        self.instance.enqueue(new)
        self.enqueued += [message.key for _, message in new]

    def run(self, workers: list[Worker]) -> None:
        """Continue until every message is settled or the time limit."""
        self.workers = workers
        started = time.monotonic()
        recovered = False
        while (passed := time.monotonic() - started) < self.plan.timeout_s:
            if not recovered and passed >= self.plan.recover_after_s:
                self.servers.recover()
                recovered = True
            if self.plan.crash_after_s is not None and passed >= self.plan.crash_after_s and not self.crashes:
                self.crash_database()
            unsettled = count_unsettled(self.instance)
            if unsettled == 0 and recovered and self.stops >= self.plan.min_stops:
                return
            nearly_settled = unsettled <= self.plan.messages * (1 - _LAST_STOP_AT)
            if nearly_settled and self.stops < self.plan.min_stops:
                self.enqueue_messages()
            elif not nearly_settled and self.stops < self.plan.max_stops:
                self.stop_oldest_worker()
            time.sleep(self.plan.interval_s)

    def stop_oldest_worker(self) -> None:
        """End the oldest worker with a heartbeat and start another in its place.

        A second worker must be active as well: where a start takes longer than the interval, no worker would ever
        send a message.
        """
        pids = self._active_pids()
        active = [worker for worker in self.workers if worker.process.pid in pids]
        if len(active) < _MIN_ACTIVE:
            return
        oldest = active[0]
        self.stops += 1
        if self.plan.graceful:
            self._terminate(oldest)
        else:
            self.kills[oldest.name] = time.time()
            oldest.kill()
        self.workers.remove(oldest)
        place, _, start = oldest.name.partition("-")
        self.workers.append(self.instance.start_worker(f"{place}-{int(start) + 1}"))

    def _terminate(self, worker: Worker) -> None:
        worker.terminate()
        try:
            self.failed_terminations += worker.process.wait(EXIT_TIMEOUT_S) != 0
        except subprocess.TimeoutExpired:
            self.failed_terminations += 1

    def _active_pids(self) -> set[int]:
        with self.instance.app.app_context(), read_only():
            found = set(db.session.scalars(db.select(WorkerHeartbeat.pid)))
            db.session.rollback()
            return found

    def crash_database(self) -> None:
        """Stop the database without a checkpoint, so that it must recover, and start it again."""
        assert self.cluster is not None
        self.cluster.stop("QUIT")
        time.sleep(0.5)
        self.cluster.start()
        self.crashes += 1
