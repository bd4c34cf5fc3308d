"""Heartbeats of the worker processes, and the sweep: a periodic search for work that was not pushed."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from ..about import VERSION
from ..clock import utcnow
from ..db import db, read_only
from ..db.prepared import PreparedStatement
from ..state import current_config, vault
from .models import WorkerHeartbeat
from .registry import Job, job_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

_LATEST = PreparedStatement(select(func.max(WorkerHeartbeat.seen_at)))


def missing_after() -> timedelta:
    """Return how long after its last heartbeat a worker counts as missing."""
    return timedelta(seconds=current_config().tuning.worker_missing_after_s)


def process_name() -> str:
    """Return ``host:pid`` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def record_heartbeat(
    now: datetime,
    *,
    started_at: datetime,
    threads: int = 0,
    queues: Sequence[str] = (),
    removes_outdated: bool = True,
) -> None:
    """Record that this worker is alive and which queues it serves, and remove outdated heartbeats. Commits."""
    keep = timedelta(seconds=current_config().tuning.heartbeat_keep_s)
    name = process_name()
    row = db.session.get(WorkerHeartbeat, name) or WorkerHeartbeat(name=name)
    row.host, row.pid, row.version = socket.gethostname()[:100], os.getpid(), VERSION
    row.started_at, row.seen_at, row.threads = started_at, now, threads
    row.queues = " ".join(queues)
    row.key_ids = list(vault().key_ids)
    db.session.add(row)
    if removes_outdated:
        db.session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.seen_at < now - keep))
    db.session.commit()


def remove_heartbeat() -> None:
    """Remove the heartbeat of this worker as it ends. Commits."""
    db.session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.name == process_name()))
    db.session.commit()


def recent_workers() -> list[WorkerHeartbeat]:
    """Return the workers of the last day that did not end in order, the latest heartbeat first."""
    query = select(WorkerHeartbeat).order_by(WorkerHeartbeat.seen_at.desc(), WorkerHeartbeat.name)
    return list(db.session.scalars(query))


def live_workers(now: datetime) -> list[WorkerHeartbeat]:
    """Return the workers with a heartbeat within the last minute."""
    return [worker for worker in recent_workers() if worker.seen_at >= now - missing_after()]


def last_heartbeat_at() -> datetime | None:
    """Return the time of the latest heartbeat of any worker, or None if there is none."""
    found: datetime | None
    (found,) = _LATEST.first() or (None,)
    return found


def is_worker_missing(now: datetime | None = None) -> bool:
    """Return whether no worker has had a heartbeat within the last minute."""
    latest = last_heartbeat_at()
    return latest is None or latest < (now or utcnow()) - missing_after()


def find_due_work(app: Flask, now: datetime, *, is_full: bool = True) -> list[Job]:
    """Return the jobs that are due by the tables, whether or not they were pushed; of patient sources if ``is_full``."""
    jobs, registry = [], job_registry(app)
    with read_only():
        for source in [*registry.work_sources, *(registry.patient_sources if is_full else ())]:
            jobs += source(now)
        db.session.rollback()
    return jobs
