"""A storm: workers are killed, servers crash and machines are lost while messages go to good and faulty mail servers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from portal.db import db, read_only
from portal.jobs.models import WorkerHeartbeat

from .arrivals import Arrivals
from .disasters import Disaster
from .guarantees import RunRecord, Undone, Violation, find_violations
from .instance import EXIT_TIMEOUT_S, LEASE_S, ROOT, Instance, Worker
from .records import count_unsettled, read_log, read_tables

_ENVIRONMENT = {  # shortens a storm to minutes; a retry delay of 60 s becomes 0.24 s
    "SIGNET_RETRY_PACE": "0.004",
    "SIGNET_LEASE_SECONDS": f"{LEASE_S:g}",
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
    record: str = ""  # SIGNET_RECORD of the workers; empty is the default
    machines: int = 1  # each with an instance folder of its own; single workers are ended on the first one
    arriving: bool = False  # half of the messages are enqueued one by one while the storm lasts
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
    disasters: Counter[str] = field(default_factory=Counter)  # by name
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


def run_storm(
    plan: Plan,
    folder: Path,
    database_url: str = "",
    disasters: Sequence[Disaster] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Report:
    """Run one storm in an empty folder until every message is settled or the time limit, then check it.

    ``variables`` are further ones of the environment of portal and workers.
    """
    log = folder / "sink.jsonl"
    with mail_servers(log, plan.behaviours) as servers:
        env = {**_ENVIRONMENT, **({"SIGNET_RECORD": plan.record} if plan.record else {}), **variables}
        portal = Instance(folder / "instance", servers.ports, database_url, env)
        accounts = portal.add_accounts(servers.ports, plan.reply_seconds)
        run = StormRun(plan, portal, servers, Arrivals(plan, portal, accounts), disasters)
        run.arrivals.enqueue()
        started = time.time()
        try:
            run.run()
        finally:
            run.kill_workers()
        seconds = time.time() - started
        rows = read_tables(portal)
        portal.close()
    record = RunRecord(
        list(run.arrivals.enqueued),
        rows,
        read_log(log),
        run.kills,
        frozenset(run.lost_logs),
        run.undone,
        run.arrivals.enqueued,
    )
    return Report(
        record,
        find_violations(record),
        dict(zip(accounts, plan.behaviours, strict=True)),
        seconds,
        waits_s(record, started),
        Counter(one.name for one in disasters if one.has_happened),
        run.terminated,
        run.failed_terminations,
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
    """Ends workers, and lets disasters happen, while the messages are sent."""

    plan: Plan
    portal: Instance
    servers: MailServers
    arrivals: Arrivals
    disasters: Sequence[Disaster] = ()
    machines: list[Instance] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    kills: dict[str, float] = field(default_factory=dict)
    lost_logs: set[str] = field(default_factory=set)  # names of workers
    undone: Undone | None = None
    terminated: int = 0  # workers
    failed_terminations: int = 0
    stops: int = 0  # of single workers
    _machines_made: int = 0

    def run(self) -> None:
        """Start the workers, and continue until every message is settled or the time limit."""
        self._start_workers()
        started = time.monotonic()
        recovered = False
        while (passed := time.monotonic() - started) < self.plan.timeout_s:
            if not recovered and passed >= self.plan.recover_after_s:
                self.servers.recover()
                recovered = True
            unsettled = count_unsettled(self.portal)
            self._let_happen(1 - (unsettled + self._arriving) / len(self.arrivals.enqueued))
            if unsettled == 0 and recovered and self._is_complete:
                return
            self._continue(unsettled)
            time.sleep(self.plan.interval_s)

    def _start_workers(self) -> None:
        # A storm on one machine has portal and workers in the same folder.
        self.machines = [self.portal]
        if self.plan.machines > 1:
            self.machines = [self.add_machine() for _ in range(self.plan.machines)]
        for number in range(1, self.plan.workers + 1):
            machine = self.machines[number % len(self.machines)]
            self.workers.append(machine.start_worker(f"w{number}-1"))

    @property
    def _is_complete(self) -> bool:
        """Whether everything that is planned has happened."""
        is_stormy = self.stops >= self.plan.min_stops and all(one.has_happened for one in self.disasters)
        return is_stormy and not self.arrivals.are_arriving

    @property
    def _arriving(self) -> int:
        """How many messages are still to be enqueued, at least."""
        return max(0, self.plan.messages - len(self.arrivals.enqueued))

    def _let_happen(self, settled: float) -> None:
        """Let the next disaster happen whose share of the messages is settled."""
        for one in self.disasters:
            if not one.has_happened and settled >= one.at:
                one.has_happened = one.act(self)
                return

    def _continue(self, unsettled: int) -> None:
        """End a worker, or enqueue more messages where they are nearly all settled and something is still to happen."""
        nearly_settled = unsettled + self._arriving <= self.plan.messages * (1 - _LAST_STOP_AT)
        if nearly_settled and not self._is_complete:
            if not self.arrivals.are_arriving:
                self.arrivals.enqueue()
        elif not nearly_settled and self.stops < self.plan.max_stops:
            self.stop_oldest_worker()

    def add_machine(self) -> Instance:
        """Return an instance with the same keys and database, in a folder of its own."""
        self._machines_made += 1
        return self.portal.on_another_machine(f"machine-{self._machines_made}")

    def stop_oldest_worker(self) -> None:
        """End the oldest worker with a heartbeat and start another in its place.

        A second worker must be active as well: where a start takes longer than the interval, no worker would ever
        send a message.
        """
        pids = self.active_pids()
        active = [worker for worker in self.workers if worker.process.pid in pids]
        oldest = next((worker for worker in active if worker.instance is self.machines[0]), None)
        if len(active) < _MIN_ACTIVE or oldest is None:
            return
        self.stops += 1
        if self.plan.graceful:
            self._terminate(oldest)
        else:
            self.kills[oldest.name] = time.time()
            oldest.kill()
        self.replace_worker(oldest, oldest.instance)

    def replace_worker(self, ended: Worker, machine: Instance) -> None:
        """Start a worker on a machine in the place of one that has ended."""
        self.workers.remove(ended)
        place, _, start = ended.name.partition("-")
        self.workers.append(machine.start_worker(f"{place}-{int(start) + 1}"))

    def kill_workers(self) -> None:
        """Kill all workers, at the end."""
        for worker in self.workers:
            worker.kill()
        for machine in self.machines:
            machine.close()

    def _terminate(self, worker: Worker) -> None:
        self.terminated += 1
        worker.terminate()
        try:
            self.failed_terminations += worker.process.wait(EXIT_TIMEOUT_S) != 0
        except subprocess.TimeoutExpired:
            self.failed_terminations += 1

    def active_pids(self) -> set[int]:
        """Return the process ids of the workers with a heartbeat."""
        with self.portal.app.app_context(), read_only():
            found = set(db.session.scalars(db.select(WorkerHeartbeat.pid)))
            db.session.rollback()
            return found
