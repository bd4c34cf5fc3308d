"""Slots: how many connections an account, and the whole portal, may have open at once, over all machines.

A slot is a row with a lease, judged by the database's clock. Whoever drains a queue holds one; what it has
claimed is its as long as the lease lasts, and is anybody's once that has lapsed.
"""

from __future__ import annotations

import logging
import secrets
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, func, select, update

from ...db import db, read_only
from ...db.transaction import db_now
from ...state import current_config
from ..models import ConnectionLease, OutboxMessage, Queue, Status
from . import clock_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import InstrumentedAttribute

    from ...smtp.providers import Provider

USUAL = 4  # connections to one account's server, where its provider names no number
_TAKING = 5_364_021  # names the lock under which slots are counted and taken in PostgreSQL

_log = logging.getLogger(__name__)
_leftovers: set[tuple[int, str]] = set()  # what could not be given back while the database was away
_leftovers_lock = threading.Lock()


def lease() -> timedelta:
    """How long a claim lasts unless it is renewed."""
    return timedelta(seconds=current_config().lease)


def most(provider: Provider | None) -> int:
    """Return how many connections a provider takes from one account at once."""
    return (provider.connections if provider else None) or USUAL


def new_token() -> str:
    """Return a name for a claim. It begins with that of this boot of the machine: see ``before_a_power_cut``."""
    return _boot() + secrets.token_hex(8)


def before_a_power_cut(token: str | None) -> bool:
    """Whether a claim in SQLite is from before the machine was started, so that its last words may be lost."""
    return bool(token) and db.engine.dialect.name == "sqlite" and not str(token).startswith(_boot())


def take(queue: Queue, token: str, *, bound: int, now: datetime) -> bool:
    """Take a free slot of a queue whose row is locked, as part of the present transaction.

    ``bound`` is how many the account's provider takes; after trouble the queue opens step by step.
    """
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(_TAKING)))
    db.session.execute(delete(ConnectionLease).where(lapsed(now, ConnectionLease.lease_until)))
    taken = db.session.scalar(select(func.count()).where(ConnectionLease.account_id == queue.account_id)) or 0
    if taken >= (bound if queue.ramp_limit is None else min(bound, max(1, queue.ramp_limit))):
        return False
    if are_all_taken():
        return False
    db.session.add(ConnectionLease(token=token, account_id=queue.account_id, lease_until=now + lease()))
    queue.last_served_at = now
    db.session.flush()
    return True


def are_taken(ident: int) -> bool:
    """Whether a queue has all its slots, as far as a look without any lock can tell.

    PostgreSQL could show what was true a moment ago, and then nobody would see what was just announced.
    """
    if db.engine.dialect.name == "postgresql":
        return False
    with read_only():
        now = db_now()
        query = select(func.count()).where(
            ConnectionLease.account_id == ident, ConnectionLease.lease_until > now
        )
        taken = db.session.scalar(query) or 0
        db.session.rollback()
    return taken >= USUAL


def are_all_taken() -> bool:
    """Whether the whole portal has as many connections open as it may."""
    return (
        db.session.scalar(select(func.count()).select_from(ConnectionLease)) or 0
    ) >= current_config().connections


def lapsed(now: datetime, until: InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
    """Return the condition that a lease is over."""
    over, never = clock_steps.bounds(now)
    return (until <= over) | (until > never)


def renew(account_id: int | None, token: str, *, now: datetime) -> bool:
    """Make a slot and what was claimed with it last from now on; False when it was lost meanwhile."""
    until = {"lease_until": now + lease()}
    kept = db.session.execute(update(ConnectionLease).where(ConnectionLease.token == token).values(until))
    mine = (
        OutboxMessage.account_id == account_id,
        OutboxMessage.lease_token == token,
        OutboxMessage.status == Status.SENDING,
    )
    db.session.execute(
        update(OutboxMessage).where(*mine).values(until).execution_options(synchronize_session=False)
    )
    return bool(kept.rowcount)  # type: ignore[attr-defined]


def shorten(token: str, until: datetime) -> None:
    """Let a slot last no longer than a moment, as part of the present transaction."""
    db.session.execute(
        update(ConnectionLease).where(ConnectionLease.token == token).values(lease_until=until)
    )


def close(token: str) -> None:
    """Give a slot back as part of the present transaction."""
    db.session.execute(delete(ConnectionLease).where(ConnectionLease.token == token))


def leave_behind(ident: int, token: str) -> None:
    """Remember a slot that could not be given back, for the database is away."""
    with _leftovers_lock:
        _leftovers.add((ident, token))


def clear_leftovers(give_back: Callable[[int, str], None]) -> None:
    """Give back what could not be given back before, by ``give_back(ident, token)``, which commits."""
    with _leftovers_lock:
        waiting = list(_leftovers)
    for one in waiting:
        give_back(*one)
        with _leftovers_lock:
            _leftovers.discard(one)


_boot_name: list[str] = []


def _boot() -> str:
    if not _boot_name:
        try:
            name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            name = "0" * 8
        _boot_name.append(name.replace("-", "")[:8])
    return _boot_name[0]
