"""One storm: messages are owed, mail servers have tempers, workers are killed, the database falls over."""

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

from .instance import ROOT, Instance, Worker
from .records import open_messages, read_log, read_tables
from .verdict import Breach, Storm, judge

_QUICK = {  # so that a storm takes minutes; 60 s before a second try become 0.24 s
    "SIGNET_RETRY_PACE": "0.004",
    "SIGNET_LEASE_SECONDS": "6",
    "SIGNET_SWEEP_SECONDS": "0.5",
}
_AT_WORK = 2  # workers at least, before one of them is ended
_CLEARS_UP = 0.95  # of the messages settled: then nobody is killed any more


@dataclass(frozen=True)
class Plan:
    """How hard it blows. Times in seconds."""

    messages: int
    tempers: tuple[str, ...]  # one account each
    workers: int = 4
    every: float = 1.0  # between two kills
    kills: int = 1_000  # at most
    politely: bool = False  # SIGTERM, and wait for the end, instead of SIGKILL
    mends_after: float = 30.0  # when the mute servers begin to speak
    restart_after: float | None = None  # when the database is ended as by a crash, and started again
    within: float = 600.0


SHORT = Plan(
    messages=900,
    tempers=("good", "slow", "busy", "refusing", "dropping", "mute"),
    workers=2,
    every=0.5,
    kills=5,
    mends_after=3,
    within=240,  # on a machine that has much else to do; usually it is over in 20
)


@dataclass(frozen=True)
class Report:
    """What a storm came to."""

    storm: Storm
    breaches: list[Breach]
    tempers: dict[int, str]  # by account
    seconds: float
    waits: dict[int, list[float]] = field(default_factory=dict)  # by account: seconds until each was taken
    restarts: int = 0
    polite: int = 0  # workers that were asked to end
    impolite: int = 0  # workers that were asked to end and did not end well


class Sinks:
    """The mail servers' process."""

    def __init__(self, log: Path, tempers: tuple[str, ...]) -> None:
        log.touch()
        command = [sys.executable, "-m", "tests.storm.sink", str(log), *tempers]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]
        self.ports: list[int] = json.loads(self.process.stdout.readline())

    def mend(self) -> None:
        """Let the mute ones speak."""
        self.process.stdin.write("mend\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@contextmanager
def sinks(log: Path, tempers: tuple[str, ...]) -> Iterator[Sinks]:
    running = Sinks(log, tempers)
    try:
        yield running
    finally:
        running.close()


def rage(plan: Plan, folder: Path, database_url: str = "", cluster: Cluster | None = None) -> Report:
    """Run one storm in an empty folder, to its end or to the limit of its time, and judge it."""
    log = folder / "sink.jsonl"
    with sinks(log, plan.tempers) as servers:
        instance = Instance(folder / "instance", servers.ports, database_url, _QUICK)
        accounts = instance.add_accounts(servers.ports)
        owed = list(messages(plan, accounts))
        instance.owe(owed)
        started = time.time()
        with instance.workers(plan.workers) as workers:
            weather = Weather(plan, instance, servers, workers, cluster)
            weather.blow()
        seconds = time.time() - started
        rows = read_tables(instance)
        instance.close()
    seen = read_log(log)
    storm = Storm([new.key for _, new in owed], rows, seen, weather.kills)
    return Report(
        storm,
        judge(storm),
        dict(zip(accounts, plan.tempers, strict=True)),
        seconds,
        waits(storm, started),
        weather.restarts,
        weather.ended - len(weather.kills),
        weather.impolite,
    )


def messages(plan: Plan, accounts: list[int]) -> Iterator[tuple[int, NewMessage]]:
    """The messages, account by turns: a few for each recipient, and some recipients that do not exist."""
    turns = itertools.cycle(zip(accounts, plan.tempers, strict=True))
    for number, (account, temper) in zip(range(plan.messages), turns, strict=False):
        line = number // len(accounts) % max(1, plan.messages // len(accounts) // 4)
        gone = temper == "refusing" and line % 10 == 3
        key = f"{account}-{number}"
        yield (
            account,
            NewMessage(
                kind="new-sign-up",
                key=key,
                recipient=f"{'gone' if gone else 'affiliate'}-{line}@account-{account}.example",
                subject=f"Storm {key}",
                text=f"Hello,\n\nthis is message {key}.\n" + "It says the same again.\n" * 20,
                html=f"<p>Hello, this is message {key}.</p>" + "<p>It says the same again.</p>" * 20,
            ),
        )


def waits(storm: Storm, since: float) -> dict[int, list[float]]:
    """How long each message waited until a server confirmed it, by account."""
    found: dict[int, list[float]] = {}
    for row in storm.rows:
        confirmed = storm.confirmed(row.key)
        if confirmed is not None:
            found.setdefault(row.account, []).append(confirmed - since)
    return found


@dataclass
class Weather:
    """What happens while the workers work."""

    plan: Plan
    instance: Instance
    servers: Sinks
    workers: list[Worker]
    cluster: Cluster | None
    kills: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    impolite: int = 0
    ended: int = 0

    def blow(self) -> None:
        """Go on until every message is settled and enough workers were hit, or the time is up."""
        started = time.monotonic()
        mended = False
        while (passed := time.monotonic() - started) < self.plan.within:
            if not mended and passed >= self.plan.mends_after:
                self.servers.mend()
                mended = True
            if (
                self.plan.restart_after is not None
                and passed >= self.plan.restart_after
                and not self.restarts
            ):
                self.restart_database()
            left = open_messages(self.instance)
            if left == 0 and mended:
                return
            if left > self.plan.messages * (1 - _CLEARS_UP) and self.ended < self.plan.kills:
                self.strike()
            time.sleep(self.plan.every)

    def strike(self) -> None:
        """End the longest-serving worker that is seen at work, and start another in its place.

        Another one has to be at work, too: where starting takes longer than killing, nobody would ever work.
        """
        seen = self._at_work()
        at_work = [one for one in self.workers if one.process.pid in seen]
        if len(at_work) < _AT_WORK:
            return
        hit = at_work[0]
        self.ended += 1
        if self.plan.politely:
            self._send_home(hit)
        else:
            self.kills[hit.name] = time.time()
            hit.kill()
        self.workers.remove(hit)
        place, _, turn = hit.name.partition("-")
        self.workers.append(self.instance.start_worker(f"{place}-{int(turn) + 1}"))

    def _send_home(self, worker: Worker) -> None:
        worker.ask_to_end()
        try:
            self.impolite += worker.process.wait(20) != 0
        except subprocess.TimeoutExpired:
            self.impolite += 1

    def _at_work(self) -> set[int]:
        with self.instance.app.app_context(), read_only():
            found = set(db.session.scalars(db.select(WorkerHeartbeat.pid)))
            db.session.rollback()
            return found

    def restart_database(self) -> None:
        """End it as a crash does, so that it has to recover."""
        assert self.cluster is not None
        self.cluster.stop("QUIT")
        time.sleep(0.5)
        self.cluster.start()
        self.restarts += 1
