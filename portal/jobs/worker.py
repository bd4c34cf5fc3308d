"""The worker process: Huey's consumers, and a pulse beside them that beats and sweeps."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ..clock import utcnow
from ..db import close_connections, db
from ..db.sqlite import use_relaxed_durability
from ..state import get_state
from . import backend, heartbeat, prefork
from .cpu_affinity import keep_to_one
from .registry import job_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from flask import Flask
    from huey.consumer import Consumer

_log = logging.getLogger(__name__)
_CHECKS = 3  # threads for whatever is not mail
_ARENAS = -8  # M_ARENA_MAX of malloc.h


def run(
    app: Flask, threads: int | None = None, processes: int = 1, queues: Sequence[str] = backend.QUEUES
) -> int:
    """Deliver until asked to end by a signal; the message in hand is finished, a second signal ends at once."""
    if processes > 1:
        with app.app_context():
            close_connections()  # a connection must not be shared with a child
        return prefork.run(processes, lambda parent: _work(app, threads, queues, parent))
    return _work(app, threads, queues)


def _work(app: Flask, threads: int | None, queues: Sequence[str], parent: int | None = None) -> int:
    """Be one worker process.

    The signals stay blocked and are fetched by a thread that only waits for them: a handler could interrupt any
    line of this thread, also one that holds the very lock the handler needs.
    """
    config, parts = get_state(app).config, job_registry(app).worker_parts
    _share_one_heap()
    if config.one_processor:
        keep_to_one(config.instance, from_last=True)  # a portal looks at the first ones first
    signal.pthread_sigmask(signal.SIG_BLOCK, prefork.END)
    with app.app_context():
        use_relaxed_durability(db.engine)
    count = threads or config.worker_threads
    for part in parts:
        part.start(app, count)
    consumers = [_consumer(app, queue, count if queue == "mail" else _CHECKS) for queue in queues]
    for consumer in consumers:
        consumer.start()
    _log.info("worker %s runs with %s threads", heartbeat.process_name(), count)
    _beat_until(_told_to_end(), app, config.sweep, count, queues, parent)
    _log.info("worker stops after the messages in hand; a second signal ends it at once")
    for part in parts:
        part.request_stop()
    for number in prefork.END:
        signal.signal(number, _end_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, prefork.END)
    for consumer in consumers:
        consumer.stop_flag.set()
    for part in parts:
        part.finish()
    for consumer in consumers:
        consumer.stop(graceful=True)
    _farewell(app)
    return 0


def _share_one_heap() -> None:
    """Keep the memory flat: glibc gives each thread a heap of its own, and what one has freed the others cannot use."""
    with suppress(OSError, AttributeError):  # another C library has no such switch, and no need of it
        ctypes.CDLL(None).mallopt(_ARENAS, 1)


def _consumer(app: Flask, queue: str, threads: int) -> Consumer:
    huey = job_registry(app).queues[queue]
    # A file is looked into every 50 ms without ever slowing down: a sign-up is answered at once. PostgreSQL and
    # Redis tell by themselves, so there a pause follows trouble alone, and grows while the trouble lasts.
    pause = {"initial_delay": 0.05, "backoff": 1.0, "max_delay": 0.05}
    if huey.storage.blocking:
        pause = {"initial_delay": 0.5, "backoff": 1.5, "max_delay": 5.0}
    return huey.create_consumer(workers=threads, worker_type="thread", periodic=False, **pause)


def _told_to_end() -> threading.Event:
    """Return what is set by the first signal that asks to end.

    sigtimedwait would do without a thread, but in CPython it speaks of a signal that never came when the process
    was stopped (SIGSTOP, a paused container) and woken after its time was over.
    """
    told = threading.Event()

    def wait() -> None:
        signal.sigwait(prefork.END)
        told.set()

    threading.Thread(target=wait, daemon=True, name="signals").start()
    return told


def _beat_until(
    told: threading.Event,
    app: Flask,
    sweep: float,
    threads: int,
    queues: Sequence[str],
    parent: int | None,
) -> None:
    """Beat and sweep every ``sweep`` seconds until a signal comes. Trouble is told and waited out."""
    started = utcnow()
    while True:
        try:
            with app.app_context():
                heartbeat.record_heartbeat(utcnow(), started_at=started, threads=threads)
                registry = job_registry(app)
                for part in registry.worker_parts:
                    part.sweep()
                jobs = heartbeat.find_due_work(app, utcnow())
                backend.push_missing(app, [job for job in jobs if registry.queue_of_job[job[0]] in queues])
        except Exception:  # the top of the worker's loop: a locked database or a full disk passes
            _log.exception("the worker cannot look for work just now, and tries again")
        if told.wait(sweep):
            return
        if parent is not None and os.getppid() != parent:
            _log.warning("the process that started this worker is gone, so it ends, too")
            return


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(1)


def _farewell(app: Flask) -> None:
    try:
        with app.app_context():
            for part in job_registry(app).worker_parts:
                part.close()
            heartbeat.remove_heartbeat()
    except Exception:
        _log.exception("the worker could not take its sign of life away")
    _log.info("worker stopped")
