"""Pushes a job to the workers as soon as the transaction that made the work has committed.

A job may be lost or repeated without harm: the tables hold the work, and the workers' sweep finds what is due.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import event
from sqlalchemy.orm import Session

from ..db import db
from ..db.transaction import current_transaction, is_raw
from ..state import get_state
from ..tuning import Tuning
from . import backend

if TYPE_CHECKING:
    from flask import Flask

    from .registry import Job

Push = Callable[[str, int], None]  # (job name, id)

_log = logging.getLogger(__name__)
_SESSION_KEY = "signet.jobs"  # in Session.info: the jobs to push after its commit
_MOST_REMEMBERED = 1_000  # jobs


class Debouncer:
    """Limits repeated pushes of one job: the first goes out at once, then one each interval, and one after the last."""

    def __init__(self, interval_s: float = Tuning.job_push_interval_s) -> None:
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._pushed_at: dict[Job, float] = {}  # monotonic time of the last push, which may lie ahead

    def push(self, target: Push, job: Job) -> None:
        """Push now or within the interval. Never raises."""
        delay = self._delay(job)
        if delay is None:
            return
        if delay <= 0:
            _push_or_log(target, job)
        else:
            threading.Timer(delay, _push_or_log, (target, job)).start()

    def _delay(self, job: Job) -> float | None:
        """Return in how many seconds to push the job, or None if a push of it is scheduled already."""
        now = time.monotonic()
        with self._lock:
            if len(self._pushed_at) > _MOST_REMEMBERED:
                self._pushed_at.clear()
            last = self._pushed_at.get(job, now - self._interval_s)
            if now < last:
                return None
            self._pushed_at[job] = max(now, last + self._interval_s)
            return last + self._interval_s - now


def _no_queue(_job: str, _id: int) -> None:
    raise RuntimeError("jobs.notify is not installed in this app")


@dataclass
class Notifier:
    """How an app pushes jobs."""

    push: Push = _no_queue
    debouncer: Debouncer = field(default_factory=Debouncer)


def install(app: Flask) -> None:
    """Push this app's jobs into its queues."""
    state = get_state(app)
    notifier = state.part(Notifier)
    notifier.push = partial(backend.push, app)
    notifier.debouncer = Debouncer(state.config.tuning.job_push_interval_s)


def push_after_commit(job: str, id_: int) -> None:
    """Push a job as soon as, and only if, the current transaction commits."""
    if is_raw():
        current_transaction().after_commit[(job, id_)] = partial(push, job, id_)
    else:
        db.session.info.setdefault(_SESSION_KEY, {})[(job, id_)] = True


def push(job: str, id_: int) -> None:
    """Push a job at once. Never raises: the sweep finds work whose job could not be pushed."""
    notifier = get_state().part(Notifier)
    notifier.debouncer.push(notifier.push, (job, id_))


def _push_or_log(target: Push, job: Job) -> None:
    try:
        target(*job)
    except Exception:  # the work is safe in its table: a full disk or a locked queue must not fail the caller
        _log.exception("could not push job %s %s; the sweep will find it", *job)


@event.listens_for(Session, "after_commit")
def _push_after_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released; other connections see its changes only after the outer commit
    for job, id_ in session.info.pop(_SESSION_KEY, None) or {}:
        push(job, id_)


@event.listens_for(Session, "after_rollback")
def _drop_after_rollback(session: Session) -> None:
    session.info.pop(_SESSION_KEY, None)
