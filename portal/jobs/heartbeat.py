"""The worker's pulse: a sign of life, and a look for work that nobody announced."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask import Flask, current_app
from sqlalchemy import delete, func, select

from .. import rate_limit
from ..about import VERSION
from ..clock import utcnow
from ..db import db, reading
from ..db.transaction import moment
from ..outbox.models import WorkerBeat
from ..outbox.store.claims import due_queues

if TYPE_CHECKING:
    from ..vault import Vault

MISSING_AFTER = timedelta(seconds=60)
_FORGET_AFTER = timedelta(days=1)

# A room's own look for work: (now) -> jobs as (name, id).
Finder = Callable[[datetime], list[tuple[str, int]]]


def name_of_this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def add_finder(app: Flask, finder: Finder) -> None:
    """Let a room's work be found by the sweep."""
    app.extensions.setdefault("signet.finders", []).append(finder)


def beat(now: datetime, *, started_at: datetime, threads: int = 0) -> None:
    """Leave a sign of life, and forget workers gone for a day and budgets long over. Commits."""
    name = name_of_this_process()
    row = db.session.get(WorkerBeat, name) or WorkerBeat(name=name)
    row.host, row.pid, row.version = socket.gethostname()[:100], os.getpid(), VERSION
    row.started_at, row.seen_at, row.threads, row.key_ids = started_at, now, threads, _key_ids()
    db.session.add(row)
    db.session.execute(delete(WorkerBeat).where(WorkerBeat.seen_at < now - _FORGET_AFTER))
    rate_limit.prune(now)
    db.session.commit()


def _key_ids() -> list[str]:
    vault: Vault = current_app.extensions["signet.vault"]
    return list(vault.key_ids)


def farewell() -> None:
    """Take the sign of life away as the worker ends. Commits."""
    db.session.execute(delete(WorkerBeat).where(WorkerBeat.name == name_of_this_process()))
    db.session.commit()


def seen() -> list[WorkerBeat]:
    """Return the workers seen within a day that did not say goodbye, the last seen first."""
    return list(db.session.scalars(select(WorkerBeat).order_by(WorkerBeat.seen_at.desc(), WorkerBeat.name)))


def alive(now: datetime) -> list[WorkerBeat]:
    """Return the workers seen within the last minute."""
    return [beat for beat in seen() if beat.seen_at >= now - MISSING_AFTER]


def last_seen() -> datetime | None:
    """When a worker was last seen, or None if never."""
    return db.session.scalar(select(func.max(WorkerBeat.seen_at)))


def work_found(app: Flask, now: datetime) -> list[tuple[str, int]]:
    """Return the jobs that are due, whoever was meant to announce them."""
    with reading():
        jobs = [("drain", ident) for ident in due_queues(moment())]
        for finder in app.extensions.get("signet.finders", []):
            jobs += finder(now)
        db.session.rollback()
    return jobs


def is_missing(now: datetime | None = None) -> bool:
    """Whether no worker was seen for a minute."""
    seen = last_seen()
    return seen is None or seen < (now or utcnow()) - MISSING_AFTER
