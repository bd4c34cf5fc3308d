"""The worker process: Huey's consumers, and a loop beside them that records heartbeats and sweeps."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from ..clock import utcnow
from ..db import db
from ..db.sqlite import use_relaxed_durability
from ..state import get_state
from . import backend, heartbeat
from .registry import job_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from types import FrameType

    from flask import Flask
    from huey.consumer import Consumer

    from ..config import Config
    from ..tuning import Tuning

_WAITED_FOR = {"mail", "checks"}  # queues for whose jobs people wait at a page

_log = logging.getLogger(__name__)
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # SIGHUP: the terminal it ran in was closed


def run(app: Flask, threads: int | None = None, queues: Sequence[str] = backend.QUEUES) -> int:
    """Run one worker process until a signal stops it; return its exit status.

    The first signal lets it finish the messages that it is sending, a second one ends it at once with status 1.
    The signals stay blocked and a thread waits for them: a handler could interrupt any line of this thread, also one
    that holds the lock that the handler needs.
    """
    config, parts = get_state(app).config, job_registry(app).worker_parts
    pin_to_cpu(config.cpu)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    with app.app_context():
        use_relaxed_durability(db.engine)
    count = threads or config.worker_threads
    for part in parts:
        part.start(app, count)
    threads_of = _threads(config.tuning) | {"mail": count}
    served = backend.parts_of(queues)
    consumers = [_consumer(app, queue, threads_of[queue]) for queue in served]
    for consumer in consumers:
        consumer.start()
    _log.info("worker %s runs with %s threads", heartbeat.process_name(), count)
    _sweep_until(_stop_event(), app, count, served)
    _log.info("worker stops after the messages that it is sending; a second signal ends it at once")
    for part in parts:
        part.request_stop()
    for number in _STOP_SIGNALS:
        signal.signal(number, _exit_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    for consumer in consumers:
        consumer.stop_flag.set()
    for part in parts:
        part.finish()
    for consumer in consumers:
        consumer.stop(graceful=True)
    _close(app)
    return 0


def pin_to_cpu(number: int | None) -> None:
    """Let this process, and the threads it starts from now on, run on one CPU alone. None changes nothing.

    Python runs one thread of a process at a time. Threads that take turns on several CPUs lose time at each change
    (docs/benchmarks.md has figures).
    """
    if number is None:
        return
    try:
        os.sched_setaffinity(0, {number})
    except OSError as error:  # a sandbox may forbid it, such as systemd's SystemCallFilter=~@resources
        _log.warning("SIGNET_CPU=%s has no effect: %s", number, error.strerror)


def _threads(tuning: Tuning) -> dict[str, int]:
    """Return how many threads take jobs from each queue, except for mail.

    Those of the first three hand the job over to the threads of fair_pool.py.
    """
    return {
        "checks": 1,
        "probes": 1,
        "webhooks": 1,
        "alerts": tuning.alert_threads,
        "housekeeping": tuning.housekeeping_threads,
    }


def _consumer(app: Flask, queue: str, threads: int) -> Consumer:
    huey = job_registry(app).queues[queue]
    tuning = get_state(app).config.tuning
    # A queue in a file is polled at a constant rate. PostgreSQL and Redis notify, so there a delay follows errors only.
    poll_s = tuning.queue_poll_s if queue in _WAITED_FOR else tuning.background_poll_s
    delays = {"initial_delay": poll_s, "backoff": 1.0, "max_delay": poll_s}
    if huey.storage.blocking:
        delays = {
            "initial_delay": tuning.queue_retry_min_s,
            "backoff": 1.5,
            "max_delay": tuning.queue_retry_max_s,
        }
    return huey.create_consumer(workers=threads, worker_type="thread", periodic=False, **delays)


def _stop_event() -> threading.Event:
    """Return an event that the first stop signal sets.

    sigtimedwait would need no thread, but CPython's returns as if a signal had come when the process was stopped
    (SIGSTOP, a paused container) and continued after the timeout.
    """
    stopped = threading.Event()

    def wait() -> None:
        signal.sigwait(_STOP_SIGNALS)
        stopped.set()

    threading.Thread(target=wait, daemon=True, name="signals").start()
    return stopped


def _sweep_until(stopped: threading.Event, app: Flask, threads: int, queues: Sequence[str]) -> None:
    """Record a heartbeat and sweep every ``Config.sweep`` seconds until a stop signal. Errors are logged."""
    started, config, done = utcnow(), get_state(app).config, 0
    while True:
        try:
            is_full = done % sweeps_for_a_full_one(config) == 0
            sweep(app, started_at=started, threads=threads, queues=queues, is_full=is_full)
            done += 1
        except Exception:  # the top of the worker's loop: a locked database or a full disk passes
            _log.exception("the sweep failed and will be repeated")
        if stopped.wait(config.sweep):
            return


def sweep(app: Flask, *, started_at: datetime, threads: int, queues: Sequence[str], is_full: bool) -> None:
    """Record a heartbeat, do the periodic maintenance and push the jobs that are due in these queues. Commits.

    A full sweep also asks the patient sources, which are most of them: an idle worker would otherwise spend most of its
    statements on work that arises a few times a day.
    """
    registry = job_registry(app)
    with app.app_context():
        heartbeat.record_heartbeat(
            utcnow(),
            started_at=started_at,
            threads=threads,
            queues=backend.names_of(queues),
            removes_outdated=is_full,
        )
        for part in registry.worker_parts:
            part.sweep()
        jobs = heartbeat.find_due_work(app, utcnow(), is_full=is_full)
        backend.push_missing(app, [job for job in jobs if registry.queue_of_job[job[0]] in queues])


def sweeps_for_a_full_one(config: Config) -> int:
    """Return of how many sweeps one is full, the first one included."""
    tuning = config.tuning
    return max(1, min(tuning.full_sweep_max_rounds, int(tuning.full_sweep_s / config.sweep)))


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(1)


def _close(app: Flask) -> None:
    try:
        with app.app_context():
            for part in job_registry(app).worker_parts:
                part.close()
            heartbeat.remove_heartbeat()
    except Exception:
        _log.exception("the worker could not remove its heartbeat")
    _log.info("worker stopped")
