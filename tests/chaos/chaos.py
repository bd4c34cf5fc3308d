"""A chaos: affiliates sign up while mail servers fail and recover in turns and the worker is killed repeatedly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from portal.clock import utcnow
from portal.db import db, read_only
from portal.enrolment import signup, signup_rules
from portal.enrolment.signup_rules import Rules
from portal.incidents.models import Incident, IncidentKind
from portal.jobs.models import WorkerHeartbeat
from tests.storm import guarantees as outbox_guarantees
from tests.storm.guarantees import RunRecord
from tests.storm.instance import EXIT_TIMEOUT_S, ROOT, Instance, Worker
from tests.storm.records import count_unsettled, read_log, read_tables

from . import guarantees
from .guarantees import FaultPeriod, IncidentRecord
from .sink import FAULTS

_ENVIRONMENT = {"SIGNET_RETRY_PACE": "0.004", "SIGNET_LEASE_SECONDS": "6", "SIGNET_SWEEP_SECONDS": "0.5"}
_POLL_S = 0.25
_SIGN_UP_SLICE_S = 0.5  # of signing up before the other steps have their turn
_WORKER_START_S = 5.0  # usual time until a worker writes its first heartbeat
_DETECTION_TIMEOUT_S = 600.0  # until the portal detects a fault or its end


@dataclass(frozen=True)
class Plan:
    sign_ups: int = 5_000
    accounts: int = 20
    good_s: float = 12.0  # minimum before the first fault, between two and after the last
    fault_s: float = 15.0  # minimum; a fault lasts until the account has an incident
    kill_after_s: float = 20.0  # after the worker's first heartbeat, in real time
    min_kills: int = 5
    max_kills: int = 1_000
    unknown_every: int = 50  # sign-ups with a mailbox that does not exist
    timeout_s: float = 3_600.0


LONG = Plan()
SHORT = Plan(
    sign_ups=90,
    accounts=3,
    good_s=0.8,
    fault_s=1.2,
    kill_after_s=3.0,
    min_kills=1,
    max_kills=2,
    unknown_every=15,
    timeout_s=1_200.0,  # on a busy machine
)


@dataclass(frozen=True)
class Report:
    """The result of a chaos."""

    plan: Plan
    record: RunRecord
    periods: list[FaultPeriod]
    incidents: list[IncidentRecord]
    lifetimes_s: list[float]  # of each killed worker, from its first heartbeat
    seconds: float

    @property
    def violations(self) -> list[str]:
        found = [
            *outbox_guarantees.find_violations(self.record),
            *guarantees.find_violations(self.periods, self.incidents),
        ]
        kills = len(self.lifetimes_s)
        too_few = [f"only {kills} workers killed"] if kills < self.plan.min_kills else []
        return too_few + [str(violation) for violation in found]


class MailServers:
    """The process of the mail servers."""

    def __init__(self, log: Path, count: int) -> None:
        log.touch()
        command = [sys.executable, "-m", "tests.chaos.sink", str(log), str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        self.ports: list[int] = json.loads(self.process.stdout.readline())

    def set_behaviour(self, number: int, behaviour: str) -> None:
        """Set a server's fault, or "good"; return when it is in effect."""
        self.process.stdin.write(f"{number} {behaviour}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(EXIT_TIMEOUT_S)
        self.process.stdout.close()


@contextmanager
def mail_servers(log: Path, count: int) -> Iterator[MailServers]:
    servers = MailServers(log, count)
    try:
        yield servers
    finally:
        servers.close()


@dataclass
class FaultSchedule:
    """The faults of one account's server, each followed by a period in which the server is good."""

    plan: Plan
    number: int
    account: int
    servers: MailServers
    remaining: list[str] = field(default_factory=list)
    fault: str = ""  # the present one
    since: float = 0.0
    periods: list[FaultPeriod] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.number % len(FAULTS)
        self.remaining = [*FAULTS[first:], *FAULTS[:first]]
        # The first faults of the accounts are spread over time.
        self.since = time.time() + self.plan.good_s * (self.number / self.plan.accounts - 0.5)

    @property
    def is_finished(self) -> bool:
        return not self.remaining and not self.fault

    @property
    def total_steps(self) -> int:
        return 2 * len(FAULTS)

    @property
    def steps(self) -> int:
        """The number of failures and recoveries so far."""
        return self.total_steps - 2 * len(self.remaining) - bool(self.fault)

    def advance(self, open_causes: set[str]) -> None:
        """Start or end a fault if the minimum time has passed and the portal has detected the last change."""
        passed = time.time() - self.since
        detected = guarantees.CAUSES[self.fault] in open_causes if self.fault else not open_causes
        detected = detected or passed > _DETECTION_TIMEOUT_S
        if passed < (self.plan.fault_s if self.fault else self.plan.good_s) or not detected:
            return
        if self.fault:
            self.periods.append(FaultPeriod(self.account, self.fault, self.since, time.time()))
            self.fault, self.since = "", time.time()
            self.servers.set_behaviour(self.number, "good")
        elif self.remaining:
            self.fault, self.since = self.remaining.pop(0), time.time()
            self.servers.set_behaviour(self.number, self.fault)


@dataclass
class ChaosRun:
    """Signs affiliates up, changes the servers and kills the worker, in turns."""

    plan: Plan
    instance: Instance
    accounts: list[int]
    schedules: list[FaultSchedule]
    workers: list[Worker]
    signed_up: int = 0
    active_since: float | None = None  # first heartbeat of the worker
    kills: dict[str, float] = field(default_factory=dict)
    lifetimes_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Continue until all sign-ups, faults and kills are done and every email is settled, or the time limit."""
        plan, started = self.plan, time.time()
        # The shortest possible run, by the faults and by the kills.
        shortest_s = max(
            3 * (plan.good_s + plan.fault_s), plan.min_kills * (plan.kill_after_s + _WORKER_START_S)
        )
        while (passed := time.time() - started) < plan.timeout_s:
            # Sign-ups follow the slowest schedule: a fault is detected only while the account has emails to send.
            progress = min((one.steps + 1) / (one.total_steps + 1) for one in self.schedules)
            share = min(passed / shortest_s, progress)
            self.sign_up(min(plan.sign_ups, int(plan.sign_ups * share) + 1))
            open_incidents = _open_incidents(self.instance)
            for one in self.schedules:
                one.advance({cause for account, cause in open_incidents if account == one.account})
            finished = all(one.is_finished for one in self.schedules) and self.signed_up == plan.sign_ups
            enough_kills = len(self.lifetimes_s) >= (plan.min_kills if finished else plan.max_kills)
            if finished and enough_kills and not open_incidents and not count_unsettled(self.instance):
                return
            if not enough_kills:
                self.kill_worker()
            time.sleep(_POLL_S)

    def sign_up(self, target: int) -> None:
        """Sign affiliates up as the page does, account by account, up to ``target`` in all; stop after 0.5 s."""
        until = time.time() + _SIGN_UP_SLICE_S
        while self.signed_up < target and time.time() < until:
            number = self.signed_up
            with self.instance.app.app_context():
                slug = f"account-{number % len(self.accounts) + 1}"
                name = "gone" if number % self.plan.unknown_every == 3 else "robin"
                network = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
                entered = signup.SignUp("Robin Alder", f"{name}{number}@visitors.example", network)
                signup.sign_up(slug, entered, now=utcnow())
            self.signed_up += 1

    def kill_worker(self) -> None:
        """Kill the worker once it has been active for ``kill_after_s``, and start another."""
        if self.active_since is None:
            self.active_since = time.time() if self._is_active() else None
        if self.active_since is None or time.time() < self.active_since + self.plan.kill_after_s:
            return
        worker = self.workers.pop()
        self.lifetimes_s.append(time.time() - self.active_since)
        self.kills[worker.name], self.active_since = time.time(), None
        worker.kill()
        place, _, start = worker.name.partition("-")
        self.workers.append(self.instance.start_worker(f"{place}-{int(start) + 1}"))

    def _is_active(self) -> bool:
        with self.instance.app.app_context(), read_only():
            pids = set(db.session.scalars(db.select(WorkerHeartbeat.pid)))
            db.session.rollback()
        return self.workers[0].process.pid in pids


def run_chaos(plan: Plan, folder: Path) -> Report:
    """Run a chaos in an empty folder and check it."""
    log = folder / "sink.jsonl"
    started = time.time()
    with mail_servers(log, plan.accounts) as servers:
        instance = Instance(folder / "instance", servers.ports, "", _ENVIRONMENT)
        accounts = instance.add_accounts(servers.ports)
        with instance.app.app_context():
            for account in accounts:
                signup_rules.save_rules(account, Rules(confirm=False))
        with instance.workers(1) as workers:
            schedules = [
                FaultSchedule(plan, number, account, servers) for number, account in enumerate(accounts)
            ]
            run = ChaosRun(plan, instance, accounts, schedules, workers)
            run.run()
        rows = [row for row in read_tables(instance) if row.account]
        incidents = read_incidents(instance)
        instance.close()
    record = _with_keys(RunRecord([], rows, read_log(log), run.kills), run.signed_up)
    periods = [period for schedule in schedules for period in schedule.periods]
    return Report(plan, record, periods, incidents, run.lifetimes_s, time.time() - started)


def _with_keys(record: RunRecord, signed_up: int) -> RunRecord:
    """Set the key of each received message by its Message-ID; an unknown Message-ID is its own key."""
    keys = {row.message_id: row.key for row in record.rows}
    received = [replace(one, key=keys.get(one.message_id, one.message_id)) for one in record.log.received]
    known = [row.key for row in record.rows]
    missing = [f"sign-up {number} of {signed_up}" for number in range(len(known), signed_up)]
    return replace(record, enqueued=known + missing, log=replace(record.log, received=received))


def read_incidents(instance: Instance) -> list[IncidentRecord]:
    """Read the incidents about sending."""
    with instance.app.app_context(), read_only():
        query = db.select(Incident).where(Incident.kind == IncidentKind.SENDING).order_by(Incident.id)
        found = [
            IncidentRecord(
                one.account_id,
                one.cause,
                one.opened_at.timestamp(),
                one.closed_at.timestamp() if one.closed_at else None,
                one.episodes,
            )
            for one in db.session.scalars(query)
        ]
        db.session.rollback()
        return found


def _open_incidents(instance: Instance) -> set[tuple[int, str]]:
    """Return account and cause of each open incident."""
    return {(one.account, one.cause) for one in read_incidents(instance) if one.closed_at is None}
