"""Threads for jobs that take long, shared so that no account delays another.

A server that does not answer keeps a thread for as long as a minute, thousands of bounces for longer. Therefore at most one
job of an account runs at a time, and accounts whose last job took long share a part of the threads: the rest is free for the
others, however many accounts have such jobs. Threads are started when they are needed. The limits hold within one process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..state import get_state
from .registry import WorkerPart, add_worker_part

if TYPE_CHECKING:
    from flask import Flask

    from .registry import Job

Work = Callable[[], object]

_log = logging.getLogger(__name__)
_MAX_WAITING = 1000  # jobs; further ones are left to the sweep
_MAX_WAITING_OF_ACCOUNT = 20  # so that the jobs of one account leave places to the others
_MAX_REMEMBERED = 10_000  # accounts


@dataclass(frozen=True)
class FairPoolLimits:
    """How many threads a pool has, and how many of them accounts may use whose last job lasted longer than ``slow_s``."""

    threads: int
    slow_threads: int
    slow_s: float


class FairPool:
    """Runs jobs of accounts. A job that waits in memory and is lost is pushed again by the sweep."""

    def __init__(self, name: str, limits: FairPoolLimits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: dict[Job, tuple[int, Work]] = {}  # in the order of their arrival
        self._started: dict[int, float] = {}  # account id: monotonic time at which its job began
        self._slow: set[int] = set()  # accounts whose last job was slow
        self._stopping = False

    def submit(self, account_id: int, job: Job, work: Work) -> None:
        """Run a job as soon as its account may. A job that waits already is not added again."""
        with self._lock:
            if job in self._waiting or self._is_full(account_id) or self._stopping:
                return
            self._waiting[job] = (account_id, work)
            self._start_next()

    def request_stop(self) -> None:
        """Start no further job. Those that wait are left to other workers."""
        with self._lock:
            self._stopping = True
            self._waiting.clear()

    def finish(self) -> None:
        """Wait for the jobs that run."""
        self._threads.shutdown(wait=True)

    def _start_next(self) -> None:
        """Start every waiting job that may start, the oldest first. The caller holds the lock."""
        for job, (account_id, work) in list(self._waiting.items()):
            if len(self._started) >= self._limits.threads:
                return
            if account_id in self._started or (account_id in self._slow and not self._has_slow_thread()):
                continue
            del self._waiting[job]
            self._started[account_id] = time.monotonic()
            self._threads.submit(self._run, account_id, job, work)

    def _is_full(self, account_id: int) -> bool:
        of_account = sum(waiting == account_id for waiting, _ in self._waiting.values())
        return len(self._waiting) >= _MAX_WAITING or of_account >= _MAX_WAITING_OF_ACCOUNT

    def _has_slow_thread(self) -> bool:
        busy = sum(self._is_slow(account_id, started) for account_id, started in self._started.items())
        return busy < self._limits.slow_threads

    def _is_slow(self, account_id: int, started: float) -> bool:
        return account_id in self._slow or time.monotonic() - started > self._limits.slow_s

    def _run(self, account_id: int, job: Job, work: Work) -> None:
        try:
            work()
        except Exception:  # the top of this thread: the sweep repeats what is still due
            _log.exception("job %s %s failed", *job)
        finally:
            with self._lock:
                lasted = time.monotonic() - self._started.pop(account_id)
                self._remember(account_id, slow=lasted > self._limits.slow_s)
                self._start_next()

    def _remember(self, account_id: int, *, slow: bool) -> None:
        if not slow:
            self._slow.discard(account_id)
            return
        if len(self._slow) >= _MAX_REMEMBERED:
            self._slow.clear()
        self._slow.add(account_id)


class FairPools(WorkerPart):
    """The pools of a process, one for each kind of work that the accounts share."""

    def __init__(self) -> None:
        self._pools: dict[str, FairPool] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def start(self, _app: Flask, _threads: int) -> None:
        self._stopping = False

    def named(self, app: Flask, name: str) -> FairPool:
        """Return the pool of this name; while the process stops, one that starts nothing."""
        with self._lock:
            if name not in self._pools:
                self._pools[name] = FairPool(name, _limits(app, name))
                if self._stopping:
                    self._pools[name].request_stop()
            return self._pools[name]

    def request_stop(self) -> None:
        with self._lock:  # a pool that is made from now on is stopped, too
            self._stopping = True
        for pool in self._all():
            pool.request_stop()

    def finish(self) -> None:
        """Wait for the running jobs. Unless the process stops, later jobs get new pools."""
        for pool in self._all():
            pool.finish()
        with self._lock:
            self._pools.clear()

    def _all(self) -> list[FairPool]:
        with self._lock:
            return list(self._pools.values())


def _limits(app: Flask, name: str) -> FairPoolLimits:
    tuning = get_state(app).config.tuning
    threads = {
        "checks": tuning.check_threads,
        "probes": tuning.probe_threads,
        "webhooks": tuning.webhook_threads,
        "bounces": tuning.bounce_threads,
    }[name]
    slow_threads = max(1, int(threads * tuning.slow_threads_fraction))
    return FairPoolLimits(threads, slow_threads, tuning.slow_job_s)


def install(app: Flask) -> None:
    """Let the worker processes of this app wait for the pools when they stop."""
    add_worker_part(app, get_state(app).part(FairPools))


def submit(app: Flask, pool: str, account_id: int, job: Job, work: Work) -> None:
    """Run a job of an account on the threads of a pool. Returns at once."""
    get_state(app).part(FairPools).named(app, pool).submit(account_id, job, work)
