"""Affiliates sign up while mail servers break and mend in turns and the worker is killed again and again."""

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
from tests.storm import verdict as outbox
from tests.storm.instance import ROOT, Instance, Worker
from tests.storm.records import open_messages, read_log, read_tables

from . import verdict
from .sink import FAULTS
from .verdict import Phase, Told

_QUICK = {"SIGNET_RETRY_PACE": "0.004", "SIGNET_LEASE_SECONDS": "6", "SIGNET_SWEEP_SECONDS": "0.5"}
_LOOK = 0.25  # seconds between two looks at everything
_SLICE = 0.5  # seconds of signing up before everything else has its turn
_COMES = 5.0  # seconds a worker may take to come to work, roughly
_PATIENCE = 90.0  # seconds at most until a fault is noticed, or its end


@dataclass(frozen=True)
class Plan:
    """How much is asked of it. Times in seconds."""

    sign_ups: int = 5_000
    accounts: int = 20
    good: float = 12.0  # before the first fault, between two and after the last, at least
    fault: float = 15.0  # at least, and until the account was told
    kill_every: float = 20.0  # after the worker came to work, by the clock on the wall
    kills: tuple[int, int] = (5, 1_000)  # at least, and at most
    gone_every: int = 50  # so often a mailbox is entered that does not exist
    within: float = 900.0


LONG = Plan()
SHORT = Plan(
    sign_ups=90, accounts=3, good=0.8, fault=1.2, kill_every=3.0, kills=(1, 2), gone_every=15, within=150.0
)


@dataclass(frozen=True)
class Report:
    """What came of it."""

    plan: Plan
    storm: outbox.Storm
    phases: list[Phase]
    told: list[Told]
    lives: list[float]  # how long each killed worker had been at work
    seconds: float

    @property
    def breaches(self) -> list[str]:
        found = [*outbox.judge(self.storm), *verdict.judge(self.phases, self.told)]
        spared = [f"only {len(self.lives)} workers killed"] if len(self.lives) < self.plan.kills[0] else []
        return spared + [str(breach) for breach in found]


class Servers:
    """The mail servers' process."""

    def __init__(self, log: Path, count: int) -> None:
        log.touch()
        command = [sys.executable, "-m", "tests.chaos.sink", str(log), str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        self.ports: list[int] = json.loads(self.process.stdout.readline())

    def play(self, number: int, temper: str) -> None:
        """Let a server play a fault, or be good; return when it does."""
        self.process.stdin.write(f"{number} {temper}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@contextmanager
def servers(log: Path, count: int) -> Iterator[Servers]:
    running = Servers(log, count)
    try:
        yield running
    finally:
        running.close()


@dataclass
class Turns:
    """One account's server on its way through every fault, each followed by a while in which it is good."""

    plan: Plan
    place: int
    account: int
    servers: Servers
    left: list[str] = field(default_factory=list)
    playing: str = ""
    since: float = 0.0
    phases: list[Phase] = field(default_factory=list)

    def __post_init__(self) -> None:
        first = self.place % len(FAULTS)
        self.left = [*FAULTS[first:], *FAULTS[:first]]
        # Not all at the same moment.
        self.since = time.time() + self.plan.good * (self.place / self.plan.accounts - 0.5)

    @property
    def over(self) -> bool:
        return not self.left and not self.playing

    @property
    def all_steps(self) -> int:
        return 2 * len(FAULTS)

    @property
    def steps(self) -> int:
        """How often the server has broken or mended."""
        return self.all_steps - 2 * len(self.left) - bool(self.playing)

    def look(self, troubles: set[str]) -> None:
        """Break or mend, when it was so long enough and the portal has noticed."""
        passed = time.time() - self.since
        noticed = verdict.CAUSES[self.playing] in troubles if self.playing else not troubles
        noticed = noticed or passed > _PATIENCE
        if passed < (self.plan.fault if self.playing else self.plan.good) or not noticed:
            return
        if self.playing:
            self.phases.append(Phase(self.account, self.playing, self.since, time.time()))
            self.playing, self.since = "", time.time()
            self.servers.play(self.place, "good")
        elif self.left:
            self.playing, self.since = self.left.pop(0), time.time()
            self.servers.play(self.place, self.playing)


@dataclass
class Chaos:
    """Everything that goes on at the same time."""

    plan: Plan
    instance: Instance
    accounts: list[int]
    turns: list[Turns]
    workers: list[Worker]
    owed: int = 0
    at_work_since: float | None = None  # the worker
    kills: dict[str, float] = field(default_factory=dict)
    lives: list[float] = field(default_factory=list)

    def reign(self) -> None:
        """Go on until all have signed up, every fault was played and every email is settled; or the time is up."""
        began, (least, most) = time.time(), self.plan.kills
        # The least it takes, by the faults and by the kills.
        played = max(3 * (self.plan.good + self.plan.fault), least * (self.plan.kill_every + _COMES))
        while (passed := time.time() - began) < self.plan.within:
            # Whoever is slowest has emails to send to the end: without any, no fault would be noticed.
            share = min(passed / played, min((one.steps + 1) / (one.all_steps + 1) for one in self.turns))
            self.sign_up(min(self.plan.sign_ups, int(self.plan.sign_ups * share) + 1))
            troubled = _troubled(self.instance)
            for one in self.turns:
                one.look({cause for account, cause in troubled if account == one.account})
            finished = all(one.over for one in self.turns) and self.owed == self.plan.sign_ups
            enough = len(self.lives) >= (least if finished else most)
            if finished and enough and not troubled and not open_messages(self.instance):
                return
            if not enough:
                self.kill()
            time.sleep(_LOOK)

    def sign_up(self, max_message_id: int) -> None:
        """Let affiliates sign up as through the page, the accounts by turns; what takes too long waits for the next look."""
        until = time.time() + _SLICE
        while self.owed < max_message_id and time.time() < until:
            number = self.owed
            with self.instance.app.app_context():
                slug = f"account-{number % len(self.accounts) + 1}"
                name = "gone" if number % self.plan.gone_every == 3 else "robin"
                network = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
                entered = signup.SignUp("Robin Alder", f"{name}{number}@visitors.example", network)
                signup.sign_up(slug, entered, now=utcnow())
            self.owed += 1

    def kill(self) -> None:
        """End the worker with SIGKILL once it was at work for a while, and start another."""
        if self.at_work_since is None:
            self.at_work_since = time.time() if self._is_at_work() else None
        if self.at_work_since is None or time.time() < self.at_work_since + self.plan.kill_every:
            return
        worker = self.workers.pop()
        self.lives.append(time.time() - self.at_work_since)
        self.kills[worker.name], self.at_work_since = time.time(), None
        worker.kill()
        place, _, turn = worker.name.partition("-")
        self.workers.append(self.instance.start_worker(f"{place}-{int(turn) + 1}"))

    def _is_at_work(self) -> bool:
        with self.instance.app.app_context(), read_only():
            found = set(db.session.scalars(db.select(WorkerHeartbeat.pid)))
            db.session.rollback()
        return self.workers[0].process.pid in found


def reign(plan: Plan, folder: Path) -> Report:
    """Let chaos reign in an empty folder and judge what came of it."""
    log = folder / "sink.jsonl"
    began = time.time()
    with servers(log, plan.accounts) as sinks:
        instance = Instance(folder / "instance", sinks.ports, "", _QUICK)
        accounts = instance.add_accounts(sinks.ports)
        with instance.app.app_context():
            for account in accounts:
                signup_rules.save_rules(account, Rules(confirm=False))
        with instance.workers(1) as workers:
            turns = [Turns(plan, place, account, sinks) for place, account in enumerate(accounts)]
            chaos = Chaos(plan, instance, accounts, turns, workers)
            chaos.reign()
        rows = [row for row in read_tables(instance) if row.account]
        told = read_incidents(instance)
        instance.close()
    storm = _named(outbox.Storm([], rows, read_log(log), chaos.kills), chaos.owed)
    phases = [one for turn in turns for one in turn.phases]
    return Report(plan, storm, phases, told, chaos.lives, time.time() - began)


def _named(storm: outbox.Storm, owed: int) -> outbox.Storm:
    """Name each body by its message; one whose Message-ID nobody owed keeps that for a name."""
    keys = {row.message_id: row.key for row in storm.rows}
    taken = [replace(one, key=keys.get(one.message_id, one.message_id)) for one in storm.log.taken]
    known = [row.key for row in storm.rows]
    missing = [f"sign-up {number} of {owed}" for number in range(len(known), owed)]
    return replace(storm, owed=known + missing, log=replace(storm.log, taken=taken))


def read_incidents(instance: Instance) -> list[Told]:
    """Read what the portal says was wrong with sending."""
    with instance.app.app_context(), read_only():
        query = db.select(Incident).where(Incident.kind == IncidentKind.SENDING).order_by(Incident.id)
        found = [
            Told(
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


def _troubled(instance: Instance) -> set[tuple[int, str]]:
    """The accounts that have been told of trouble which is not over, and its cause."""
    return {(one.account, one.cause) for one in read_incidents(instance) if one.closed is None}
