"""The worker process: Huey's consumer, and a pulse beside it that beats and sweeps."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType

from flask import Flask
from huey import Huey
from sqlalchemy.exc import SQLAlchemyError

from . import engine
from .clock import utcnow
from .config import Config
from .db import db
from .outbox import delivery, worker

_log = logging.getLogger(__name__)


def run(app: Flask, threads: int | None = None) -> int:
    """Deliver until SIGTERM or SIGINT; the message in hand is finished, a second signal ends at once."""
    config: Config = app.extensions["signet.config"]
    huey: Huey = app.extensions["signet.huey"]
    # Jobs are looked for every 50 ms without ever slowing down: a sign-up is answered at once.
    consumer = huey.create_consumer(
        workers=threads or config.worker_threads,
        worker_type="thread",
        periodic=False,
        initial_delay=0.05,
        backoff=1.0,
        max_delay=0.05,
        check_worker_health=True,
    )
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise SystemExit(1)
        stop.set()
        delivery.stopping.set()

    consumer.start()
    # After Huey has set its own, whose SIGTERM would not wait for the message in hand.
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    _log.info("worker %s runs with %s threads", worker.name_of_this_process(), consumer.workers)
    _pulse(app, config, stop)
    consumer.stop(graceful=True)
    with app.app_context():
        worker.farewell()
    _log.info("worker stopped")
    return 0


def _pulse(app: Flask, config: Config, stop: threading.Event) -> None:
    """Beat and sweep until asked to stop. Trouble with the database is told and waited out."""
    started = utcnow()
    while not stop.is_set():
        try:
            with app.app_context():
                worker.beat(utcnow(), started_at=started)
                for job, ident in worker.work_found(app, utcnow()):
                    engine.announce(app, job, ident)
        except SQLAlchemyError as error:
            _log.error("database trouble, the worker waits and tries again: %s", error)
            with app.app_context():
                db.session.rollback()
        stop.wait(config.sweep)
