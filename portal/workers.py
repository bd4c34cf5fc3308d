"""The worker process: Huey's consumer, and a pulse beside it that beats and sweeps."""

from __future__ import annotations

import logging
import os
import signal
from datetime import datetime
from types import FrameType

from flask import Flask
from huey import Huey
from huey.consumer import Consumer

from . import engine
from .clock import utcnow
from .config import Config
from .outbox import delivery, worker

_log = logging.getLogger(__name__)
_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # SIGHUP: the terminal it ran in was closed


def run(app: Flask, threads: int | None = None) -> int:
    """Deliver until asked to end by a signal; the message in hand is finished, a second signal ends at once.

    The signals stay blocked and are fetched by the pulse, between two of its beats: a handler could
    interrupt any line of this thread, also one that holds the very lock the handler needs.
    """
    config: Config = app.extensions["signet.config"]
    signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    consumer = _consumer(app, threads or config.worker_threads)
    consumer.start()
    _log.info("worker %s runs with %s threads", worker.name_of_this_process(), consumer.workers)
    _pulse(app, config.sweep, consumer.workers)
    _log.info("worker stops after the messages in hand; a second signal ends it at once")
    delivery.stopping.set()
    for number in _END:
        signal.signal(number, _end_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)
    consumer.stop(graceful=True)
    _farewell(app)
    return 0


def _consumer(app: Flask, threads: int) -> Consumer:
    huey: Huey = app.extensions["signet.huey"]
    # A file is looked into every 50 ms without ever slowing down: a sign-up is answered at once. PostgreSQL and
    # Redis tell by themselves, so there a pause follows trouble alone, and grows while the trouble lasts.
    pause = {"initial_delay": 0.05, "backoff": 1.0, "max_delay": 0.05}
    if huey.storage.blocking:
        pause = {"initial_delay": 0.5, "backoff": 1.5, "max_delay": 5.0}
    return huey.create_consumer(workers=threads, worker_type="thread", periodic=False, **pause)


def _pulse(app: Flask, sweep: float, threads: int) -> None:
    """Beat and sweep every ``sweep`` seconds until a signal comes. Trouble is told and waited out."""
    started = utcnow()
    while True:
        try:
            _beat(app, started, threads)
        except Exception:  # the top of the worker's loop: a locked database or a full disk passes
            _log.exception("the worker cannot look for work just now, and tries again")
        if signal.sigtimedwait(_END, sweep) is not None:
            return


def _beat(app: Flask, started: datetime, threads: int) -> None:
    with app.app_context():
        worker.beat(utcnow(), started_at=started, threads=threads)
        engine.announce_missing(app, worker.work_found(app, utcnow()))


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(1)


def _farewell(app: Flask) -> None:
    try:
        with app.app_context():
            worker.farewell()
    except Exception:
        _log.exception("the worker could not take its sign of life away")
    _log.info("worker stopped")
