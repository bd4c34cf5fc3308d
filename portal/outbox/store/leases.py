"""Connection leases: how many connections an account and the whole portal may have open at once, over all machines.

A connection lease is a row that ends at a time of the database's clock. A drain holds one, and the messages it has
claimed belong to it as long as that lease lasts; afterwards any worker may claim them.

A step of the database's clock must not end the lease of a running worker. Set forward by an hour, the clock passes the
end of every lease at once; set back, every lease ends further ahead than any lease lasts. Each process also measures
time by the monotonic clock, so it notices a step, and for the duration of a lease it compares lease ends with the clock
as it was and as it is: within that time every running worker has renewed its lease.

Nor may a time without a database, such as a restart or a failover, end the leases of workers that could not renew them: one
on another machine would send again what they have yet to record. Each process reads the database's clock at every sweep;
after a longer time without it, leases count as lasting longer by that time, until their workers have renewed them.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, func, select, update

from ...config import Record
from ...db import db, read_only
from ...db.transaction import db_now
from ...state import current_config, get_state
from ..models import ConnectionLease, OutboxMessage, Queue, Status
from . import acceptance_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import InstrumentedAttribute

    from ...smtp.providers import Provider

_COUNT_LOCK = 5_364_021  # PostgreSQL advisory lock under which leases are counted and acquired
_deferred: set[tuple[int, str]] = set()  # (account id, token) of leases to release when the database is back
_deferred_lock = threading.Lock()


def lease_duration() -> timedelta:
    """Return how long a claim and a connection lease last unless they are renewed."""
    return timedelta(seconds=current_config().lease)


def connection_limit(provider: Provider | None) -> int:
    """Return how many connections a provider accepts from one account at once."""
    return (provider.connections if provider else None) or current_config().tuning.connections_per_account


def acquire(queue: Queue, token: str, *, limit: int, now: datetime) -> bool:
    """Acquire a connection lease for a queue whose row is locked; False if its limit is reached.

    ``limit`` is what the account's provider accepts; after a failure the queue ramps up to it.
    """
    if db.session.connection().dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(_COUNT_LOCK)))
    # Not one that is locked: its worker is alive, renews it and may wait for this queue.
    expired = select(ConnectionLease.token).where(is_expired(now, ConnectionLease.lease_until))
    free = expired.with_for_update(skip_locked=True)
    db.session.execute(delete(ConnectionLease).where(ConnectionLease.token.in_(free)))
    held = db.session.scalar(select(func.count()).where(ConnectionLease.account_id == queue.account_id)) or 0
    if held >= (limit if queue.ramp_limit is None else min(limit, max(1, queue.ramp_limit))):
        return False
    if is_portal_limit_reached():
        return False
    until = now + lease_duration()
    db.session.add(ConnectionLease(token=token, account_id=queue.account_id, lease_until=until))
    queue.last_served_at = now
    db.session.flush()
    return True


def is_account_limit_reached(account_id: int) -> bool:
    """Whether an account has all its connections open, as seen without a lock; a hint that saves a transaction.

    Always False in PostgreSQL: its snapshot may be older than the job that was just pushed, and the job's message
    would then wait for the sweep.
    """
    if db.engine.dialect.name == "postgresql":
        return False
    with read_only():
        lease = ConnectionLease
        query = select(func.count()).where(lease.account_id == account_id, lease.lease_until > db_now())
        held = db.session.scalar(query) or 0
        db.session.rollback()
    return held >= current_config().tuning.connections_per_account


def is_portal_limit_reached() -> bool:
    """Whether the whole portal has as many connections open as it may (``Config.connections``)."""
    held = db.session.scalar(select(func.count()).select_from(ConnectionLease)) or 0
    return held >= current_config().connections


def renew(account_id: int | None, token: str, *, now: datetime) -> bool:
    """Renew the claims made under a connection lease, and that lease; False if it was lost.

    The claims come first, as for a worker that takes them over: it deletes the lease afterwards, in the same transaction.
    """
    until = {"lease_until": now + lease_duration()}
    claimed = update(OutboxMessage).where(
        OutboxMessage.account_id == account_id,
        OutboxMessage.lease_token == token,
        OutboxMessage.status == Status.SENDING,
    )
    db.session.execute(claimed.values(until).execution_options(synchronize_session=False))
    kept = db.session.execute(update(ConnectionLease).where(ConnectionLease.token == token).values(until))
    return bool(kept.rowcount)  # type: ignore[attr-defined]


def shorten(token: str, until: datetime) -> None:
    """Let a connection lease end at ``until``. The caller commits."""
    statement = update(ConnectionLease).where(ConnectionLease.token == token)
    db.session.execute(statement.values(lease_until=until))


def release(token: str) -> None:
    """Release a connection lease. The caller commits."""
    db.session.execute(delete(ConnectionLease).where(ConnectionLease.token == token))


def defer_release(account_id: int, token: str) -> None:
    """Keep a lease that could not be released because the database is away."""
    with _deferred_lock:
        _deferred.add((account_id, token))


def retry_releases(release_drain: Callable[[int, str], None]) -> None:
    """Release the remembered leases by ``release_drain(account_id, token)``, which commits."""
    with _deferred_lock:
        waiting = list(_deferred)
    for one in waiting:
        release_drain(*one)
        with _deferred_lock:
            _deferred.discard(one)


# -- tokens


_boot_name: list[str] = []
_BY_LOG = "L"  # in the token of a claim whose start may be in the acceptance log only


def new_token() -> str:
    """Return a token for a drain's claims and lease, of at most 32 characters.

    Its prefix names this boot of the machine and, where the acceptance log may be the only record of a start on
    PostgreSQL, the instance folder that has the log.
    """
    return _token_prefix() + secrets.token_hex(8)


def may_lack_its_start(token: str | None) -> bool:
    """Whether a claim may have been submitted though neither the table nor a log that can be read here has its start.

    In SQLite a power cut may have taken the last commits and the last lines of the log. With SIGNET_RECORD=log the log
    is in the instance folder of another machine, which may be lost, or was lost in a power cut of this one.
    """
    if not token:
        return False
    if db.engine.dialect.name == "sqlite":
        return not token.startswith(_boot())
    return token[8:9] == _BY_LOG and not token.startswith(_token_prefix_by_log())


def _token_prefix() -> str:
    is_by_log = db.engine.dialect.name == "postgresql" and current_config().record is Record.LOG
    return _token_prefix_by_log() if is_by_log else _boot()


def _token_prefix_by_log() -> str:
    return f"{_boot()}{_BY_LOG}{acceptance_log.current_log().folder_name}"


def _boot() -> str:
    if not _boot_name:
        try:
            name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            name = "0" * 8
        _boot_name.append(name.replace("-", "")[:8])
    return _boot_name[0]


# -- when a lease is over, in spite of clock steps and of a database that was away


@dataclass
class _Clock:
    """How this process has seen the database's clock. Times are monotonic, in seconds."""

    # Offsets of the database's clock from the monotonic clock: rounded -> (offset, when it was seen last).
    offsets: dict[int, tuple[float, float]] = field(default_factory=dict)
    read_at: float | None = None  # when it was read last
    outages: list[tuple[float, float]] = field(default_factory=list)  # (how long, until when it counts)

    def count_outage(self, monotonic: float, lease: float, min_s: float) -> float:
        """Return for how many seconds the database was away, if it was within the duration of a lease; else 0.

        ``min_s``: a shorter time without it is none.
        """
        gap = 0.0 if self.read_at is None else monotonic - self.read_at
        self.read_at = monotonic
        found = [one for one in self.outages if monotonic < one[1]]
        if gap > min_s:
            found.append((gap, monotonic + lease))
        self.outages = found
        return max((one for one, _ in found), default=0.0)


def is_expired(now: datetime, until: InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
    """Return the SQL condition that a lease is over."""
    earliest, latest = lease_bounds(now)
    return (until <= earliest) | (until > latest)


def lease_bounds(now: datetime) -> tuple[datetime, datetime]:
    """Return two times: a lease is over if it ends at or before the first, or after the second.

    One that ends after the second was taken before the clock was set back.
    """
    config, clock = current_config(), get_state().part(_Clock)
    monotonic = time.monotonic()
    offset = now.timestamp() - monotonic
    min_s = config.tuning.outage_min_fraction * config.lease
    away_s = clock.count_outage(monotonic, config.lease, min_s)
    clock.offsets[round(offset / config.tuning.clock_step_s)] = (offset, monotonic)
    for key, (_, at) in list(clock.offsets.items()):
        if not 0 <= monotonic - at < config.lease + away_s:
            clock.offsets.pop(key, None)
    offsets = [one for one, _ in list(clock.offsets.values())] or [offset]
    earliest = now - timedelta(seconds=offset - min(offsets) + away_s)
    latest = now + timedelta(seconds=max(offsets) - offset + 2 * config.lease)
    return earliest, latest
