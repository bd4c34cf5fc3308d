"""The outbox's part of a worker process: the dispatcher, periodic recovery, and a graceful stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..db.transaction import db_now
from ..jobs.registry import Job, WorkerPart
from ..state import get_state
from .sending import deliver
from .sending.dispatcher import Dispatcher, Dispatching
from .store import recovery
from .store.due import due_queues

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask


class OutboxWorker(WorkerPart):
    """Runs the drains of one worker process."""

    def __init__(self) -> None:
        self._dispatcher: Dispatcher | None = None

    def start(self, app: Flask, threads: int) -> None:
        with app.app_context():
            recovery.on_start()
        state = get_state(app)
        config = state.config
        limit = min(config.connections, config.tuning.connections_per_thread * threads)
        self._dispatcher = state.part(Dispatching).dispatcher = Dispatcher(app, limit)

    def sweep(self) -> None:
        recovery.sweep()

    def request_stop(self) -> None:
        deliver.stopping.set()

    def finish(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.close()

    def close(self) -> None:
        recovery.on_stop()


def find_due_work(_now: datetime) -> list[Job]:
    """Return a ``drain`` job for each account with due messages, by the database's clock."""
    return [("drain", account_id) for account_id in due_queues(db_now())]
