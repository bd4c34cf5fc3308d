"""The outbox's part in a worker process: its dispatcher, its periodic maintenance, and an orderly stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..db.transaction import db_now
from ..jobs.registry import Job, WorkerPart
from ..state import get_state
from .sending import deliver
from .sending.dispatcher import Dispatching, Lanes
from .store import maintenance
from .store.claims import due_queues

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

_CONNECTIONS_PER_THREAD = 16  # of one process at most


class OutboxWorker(WorkerPart):
    """Runs the drains of one worker process."""

    def __init__(self) -> None:
        self._lanes: Lanes | None = None

    def start(self, app: Flask, threads: int) -> None:
        with app.app_context():
            maintenance.begin()
        state = get_state(app)
        most = min(state.config.connections, _CONNECTIONS_PER_THREAD * threads)
        self._lanes = state.part(Dispatching).lanes = Lanes(app, most)

    def sweep(self) -> None:
        maintenance.mend()

    def request_stop(self) -> None:
        deliver.stopping.set()

    def finish(self) -> None:
        if self._lanes is not None:
            self._lanes.close()

    def close(self) -> None:
        maintenance.end()


def find_due_work(_now: datetime) -> list[Job]:
    """Return a ``drain`` job for each account with due messages, by the database's clock."""
    return [("drain", account_id) for account_id in due_queues(db_now())]
