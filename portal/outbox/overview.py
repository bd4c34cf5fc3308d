"""The state of the outbox for operators: queue depths, stopped queues, workers, leases and internal errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, bindparam, func, or_, select, text, union_all

from ..db import db
from ..db.prepared import PreparedStatement, any_of
from ..db.transaction import flush_session
from ..jobs import heartbeat
from .models import OPEN, ConnectionLease, DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from .queue import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..jobs.models import WorkerHeartbeat

OPEN_STATUSES = (Status.QUEUED, Status.SENDING, Status.HELD)  # neither accepted nor given up
_RECENT = timedelta(hours=1)
_MAX_WAITING = 10_000
MAX_SHOWN = 1000  # waiting emails that pages count; each of them is a row to read


@dataclass(frozen=True)
class QueueDepth:
    """One account's messages by status. ``account_id`` is SYSTEM for the portal's own mail."""

    account_id: int
    counts: Mapping[Status, int]
    oldest: datetime | None  # when the oldest open one was enqueued

    @property
    def open(self) -> int:
        """How many messages are open."""
        return sum(self.counts.get(status, 0) for status in OPEN_STATUSES)


@dataclass(frozen=True)
class StoppedQueue:
    """A queue that is held until its settings are fixed, or paused until a time."""

    account_id: int
    held_at: datetime | None
    diagnosis: Mapping[str, Any]  # empty if it is paused only
    until: datetime | None  # when a probe is sent, or the pause ends
    waiting: int


@dataclass(frozen=True)
class MessageLease:
    """A message that is being sent, or that a crashed worker was sending: then its lease lapses."""

    message_id: int
    account_id: int
    server: str
    started_at: datetime | None
    until: datetime | None
    lapsed: bool


@dataclass(frozen=True)
class InternalError:
    """An internal error of the portal while it sent one message, as a traceback without secrets."""

    message_id: int
    account_id: int
    at: datetime
    traceback: str


@dataclass(frozen=True)
class Overview:
    """The state of the outbox at one time."""

    at: datetime
    accounts: Sequence[QueueDepth]  # the one with most open messages first
    stopped: Sequence[StoppedQueue]
    workers: Sequence[WorkerHeartbeat]
    leases: Sequence[MessageLease]
    draining_accounts: Sequence[int]  # ids of the accounts that have a connection lease
    attempts_last_hour: Mapping[Outcome, int]
    attempts_last_minute: Mapping[Outcome, int]
    internal_errors: Sequence[InternalError]  # the latest ones, newest first

    @property
    def depth(self) -> int:
        return sum(one.open for one in self.accounts)

    @property
    def oldest(self) -> datetime | None:
        return min((one.oldest for one in self.accounts if one.oldest), default=None)

    @property
    def counts(self) -> dict[Status, int]:
        return {status: sum(one.counts.get(status, 0) for one in self.accounts) for status in Status}

    @property
    def at_work(self) -> list[WorkerHeartbeat]:
        """The workers that were seen within the last minute."""
        return [worker for worker in self.workers if worker.seen_at >= self.at - heartbeat.missing_after()]


def read_overview(now: datetime, *, counts_settled: bool = False) -> Overview:
    """Read the state of the whole outbox, in the caller's transaction.

    Without ``counts_settled`` only open messages are counted, through the index of these; with it, every message is read.
    """
    accounts = _accounts(counts_settled=counts_settled)
    open_messages = {one.account_id: one.open for one in accounts}
    return Overview(
        at=now,
        accounts=accounts,
        stopped=_stopped(now, open_messages),
        workers=heartbeat.recent_workers(),
        leases=_leases(now),
        draining_accounts=list(
            db.session.scalars(
                select(ConnectionLease.account_id).where(ConnectionLease.lease_until > now).distinct()
            )
        ),
        attempts_last_hour=_attempts(now - _RECENT),
        attempts_last_minute=_attempts(now - timedelta(minutes=1)),
        internal_errors=_internal_errors(),
    )


def count_sending() -> int:
    """Return how many emails are being sent."""
    sending = (OutboxMessage.status == Status.SENDING, text(OPEN))
    return db.session.scalar(select(func.count()).select_from(OutboxMessage).where(*sending)) or 0


def count_connections(now: datetime) -> int:
    """Return how many connections to mail servers are leased, over all workers."""
    held = ConnectionLease.lease_until > now
    return db.session.scalar(select(func.count()).select_from(ConnectionLease).where(held)) or 0


def count_waiting(account_id: int, up_to: int = _MAX_WAITING) -> int:
    """Return how many of the account's emails wait to be sent, at most ``up_to``. Checks of settings are not counted."""
    return count_waiting_of([account_id], up_to)[account_id]


def count_waiting_of(account_ids: Sequence[int], up_to: int) -> dict[int, int]:
    """Return how many emails of each account wait, as ``count_waiting`` does, by one statement."""
    if not account_ids:
        return {}
    flush_session()
    ids = {f"account_{number}": account_id for number, account_id in enumerate(account_ids)}
    return dict(_waiting(len(ids)).all(**ids, up_to=up_to))


@lru_cache(maxsize=4)
def _waiting(accounts: int) -> PreparedStatement:
    """Return the statement that counts for so many accounts. Every page runs that for one; building it takes longest."""
    counts = []
    for number in range(accounts):
        account_id = bindparam(f"account_{number}", type_=OutboxMessage.__table__.c.account_id.type)
        waiting = (
            select(OutboxMessage.id)
            .where(
                OutboxMessage.account_id == account_id,
                text(OPEN),  # or the partial index is not used, and the whole log is read
                any_of(OutboxMessage.status, (Status.HELD, Status.QUEUED)),
                OutboxMessage.forced_version_id.is_(None),
            )
            .limit(bindparam("up_to", type_=Integer()))
        )
        counts.append(select(account_id, func.count()).select_from(waiting.subquery()))
    return PreparedStatement(union_all(*counts))


def _accounts(*, counts_settled: bool) -> list[QueueDepth]:
    counts: dict[int, dict[Status, int]] = {}
    by_status = select(OutboxMessage.account_id, OutboxMessage.status, func.count())
    if not counts_settled:
        by_status = by_status.where(text(OPEN))
    for account, status, count in db.session.execute(
        by_status.group_by(OutboxMessage.account_id, OutboxMessage.status)
    ):
        counts.setdefault(account or SYSTEM, {})[status] = count
    queue_id = func.coalesce(OutboxMessage.account_id, SYSTEM)
    first = select(queue_id, func.min(OutboxMessage.created_at)).where(text(OPEN))
    oldest = dict(db.session.execute(first.group_by(OutboxMessage.account_id)).all())
    found = [QueueDepth(account, counts[account], oldest.get(account)) for account in counts]
    return sorted(found, key=lambda one: (-one.open, one.account_id))


def _stopped(now: datetime, open_messages: Mapping[int, int]) -> list[StoppedQueue]:
    query = select(Queue).where(or_(Queue.held_at.is_not(None), Queue.paused_until > now))
    rows = sorted(db.session.scalars(query), key=lambda row: (row.held_at or now, row.account_id))
    return [
        StoppedQueue(
            account_id=row.account_id,
            held_at=row.held_at,
            diagnosis=(row.hold_diagnosis or {}) if row.held_at else {},
            until=row.next_probe_at if row.held_at else row.paused_until,
            waiting=open_messages.get(row.account_id, 0),
        )
        for row in rows
    ]


def _leases(now: datetime) -> list[MessageLease]:
    started = DeliveryAttempt.outcome == Outcome.STARTED
    query = (
        select(OutboxMessage, DeliveryAttempt)
        .outerjoin(DeliveryAttempt, (DeliveryAttempt.message_id == OutboxMessage.id) & started)
        .where(OutboxMessage.status == Status.SENDING, text(f"outbox_message.{OPEN}"))
        .order_by(OutboxMessage.id)
    )
    return [
        MessageLease(
            message_id=message.id,
            account_id=message.account_id or SYSTEM,
            server=attempt.server if attempt else "",
            started_at=attempt.started_at if attempt else None,
            until=message.lease_until,
            lapsed=message.lease_until is None or message.lease_until <= now,
        )
        for message, attempt in db.session.execute(query)
    ]


def _attempts(since: datetime) -> dict[Outcome, int]:
    query = select(DeliveryAttempt.outcome, func.count()).where(DeliveryAttempt.started_at >= since)
    return dict(db.session.execute(query.group_by(DeliveryAttempt.outcome)).all())


def _internal_errors() -> list[InternalError]:
    columns = (
        OutboxMessage.id,
        OutboxMessage.account_id,
        DeliveryAttempt.started_at,
        DeliveryAttempt.traceback,
    )
    query = select(*columns).join(OutboxMessage, OutboxMessage.id == DeliveryAttempt.message_id)
    latest = (
        query.where(text("delivery_attempt.traceback <> ''")).order_by(DeliveryAttempt.id.desc()).limit(5)
    )
    return [
        InternalError(message_id, account or SYSTEM, at, traceback)
        for message_id, account, at, traceback in db.session.execute(latest)
    ]
