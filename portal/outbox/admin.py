"""An operator's orders: try again, cancel, release. What is being sent is never touched, nor what was sent.

Each first takes the queues, as a worker does before it claims, so that neither acts on what the other is
about to change; and each is one commit, or changes nothing where it is only rehearsed (``dry_run``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from ..db import db
from ..db.transaction import db_now
from ..jobs import notify
from .models import OutboxMessage, Queue, Status
from .queue import SYSTEM, release

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

RETRYABLE = (Status.FAILED, Status.QUEUED, Status.CANCELLED)
CANCELLABLE = (Status.QUEUED, Status.HELD)
_AT_ONCE = 500  # ids in one statement

_WHY_NOT = {
    Status.SENDING: "is being sent at this moment",
    Status.SENT: "was accepted by a server",
    Status.HELD: "is on hold with its queue: release that",
    Status.FAILED: "has failed already",
    Status.CANCELLED: "was cancelled",
    Status.SUPPRESSED: "is suppressed",
    Status.QUEUED: "is tried as soon as a worker is free anyway",
}


@dataclass(frozen=True)
class MessageSelection:
    """Which messages are meant. ``account_id`` is SYSTEM for the portal's own mail and None for everybody's;
    ``before`` is a moment they were owed before. What is left empty leaves nothing out."""

    account_id: int | None = None
    statuses: Collection[Status] = ()
    idents: Collection[int] = ()
    before: datetime | None = None

    def messages(self) -> list[ColumnElement[bool]]:
        """The conditions on a message, its status left aside."""
        found: list[ColumnElement[bool]] = []
        if self.account_id is not None:
            found.append(func.coalesce(OutboxMessage.account_id, SYSTEM) == self.account_id)
        if self.idents:
            found.append(OutboxMessage.id.in_(self.idents))
        if self.before is not None:
            found.append(OutboxMessage.created_at < self.before)
        return found


@dataclass(frozen=True)
class StatusChange:
    """A message, where it stood, and where it stands now (or would)."""

    ident: int
    account_id: int
    recipient: str
    old: Status
    new: Status


@dataclass(frozen=True)
class AdminResult:
    """What was done, or would be. ``refused`` says why of messages that were named by id."""

    moved: Sequence[StatusChange]
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleasedQueue:
    """A queue that moves again, or would; ``waiting`` counts the messages that wait in it."""

    account_id: int
    held_at: datetime | None
    code: str  # of the diagnosis; empty: it was only paused
    waiting: int


def retry(which: MessageSelection, *, now: datetime, dry_run: bool = False) -> AdminResult:
    """Give messages a new start: the failed, those that wait for their next try, the cancelled if asked for.

    Those of a held queue wait with it. A test or a check is never repeated, for its answer was told;
    the portal's own mail not either, once it is settled, for its words were wiped. Commits.
    """
    held = _take_queues(dry_run)
    usual = (Status.FAILED, Status.QUEUED)
    again = and_(
        OutboxMessage.is_test.is_(False),
        or_(OutboxMessage.status != Status.QUEUED, OutboxMessage.next_attempt_at > db_now()),
        OutboxMessage.text != "",  # wiped once it was settled, or after the days an account keeps it
    )
    rows = _choose(which, RETRYABLE, usual, again)
    moved = [
        _moved(row, Status.HELD if (row.account_id or SYSTEM) in held else Status.QUEUED) for row in rows
    ]
    refused = _refused(which, moved)
    if dry_run:
        db.session.rollback()
        return AdminResult(moved, refused)
    fresh = {"next_attempt_at": db_now(), "retries_reset_at": now, "attempts": 0, "settled_at": None}
    for status in (Status.QUEUED, Status.HELD):
        _update([one.ident for one in moved if one.new is status], status=status, **fresh)
    for ident in {one.account_id for one in moved}:
        notify.push_after_commit("drain", ident)
    db.session.commit()
    return AdminResult(moved, refused)


def cancel(which: MessageSelection, *, now: datetime, dry_run: bool = False) -> AdminResult:
    """Let waiting and held messages never leave. The words of the portal's own mail are wiped. Commits."""
    _take_queues(dry_run)
    rows = _choose(which, CANCELLABLE, CANCELLABLE)
    moved = [_moved(row, Status.CANCELLED) for row in rows]
    refused = _refused(which, moved)
    if dry_run:
        db.session.rollback()
        return AdminResult(moved, refused)
    private = [row.id for row in rows if row.is_sealed]
    _update([one.ident for one in moved], status=Status.CANCELLED, settled_at=now)
    _update(private, text="", html="")
    db.session.commit()
    return AdminResult(moved, refused)


def release_queues(which: MessageSelection, *, now: datetime, dry_run: bool = False) -> list[ReleasedQueue]:
    """Let held and paused queues move again at once, whatever stopped them. Commits.

    ``which`` names accounts, or messages whose queues are meant; ``before`` is when they were held.
    """
    _take_queues(dry_run)
    found = [_released(queue) for queue in _stopped(which, now)]
    if dry_run:
        db.session.rollback()
        return found
    for one in found:
        queue = db.session.get_one(Queue, one.account_id)
        queue.paused_until, queue.consecutive_failures = None, 0
        release(one.account_id or None, now=now)
    db.session.commit()
    return found


def _take_queues(dry_run: bool) -> set[int]:
    """Lock every queue until the transaction ends, always in the same order; return those that are held."""
    query = select(Queue).order_by(Queue.account_id).execution_options(populate_existing=True)
    queues = db.session.scalars(query if dry_run else query.with_for_update())
    return {queue.account_id for queue in queues if queue.held_at is not None}


def _choose(
    which: MessageSelection,
    possible: Collection[Status],
    usual: Collection[Status],
    *more: ColumnElement[bool],
) -> list[Any]:
    """Return the rows that are meant and may be moved. A check's message belongs to its check alone."""
    statuses = set(which.statuses or usual) & set(possible)
    row = OutboxMessage
    query = select(row.id, row.account_id, row.recipient, row.status, row.is_sealed).where(
        row.status.in_(statuses), row.forced_version_id.is_(None), *which.messages(), *more
    )
    return list(db.session.execute(query.order_by(row.id)))


def _refused(which: MessageSelection, moved: Sequence[StatusChange]) -> dict[int, str]:
    """Say of each message named by its id why it is left alone."""
    missing = sorted(set(which.idents) - {one.ident for one in moved})
    rows = {row.id: row for row in _rows(missing)}
    return {ident: _why_not(rows.get(ident), which) for ident in missing}


def _why_not(row: OutboxMessage | None, which: MessageSelection) -> str:
    if row is None:
        return "does not exist"
    if row.forced_version_id is not None or row.is_test:
        return "is a test or a check, which is tried once"
    if not row.text:
        return "was settled, and its words were wiped"
    strangers = which.account_id not in (None, row.account_id or SYSTEM)
    younger = which.before is not None and row.created_at >= which.before
    if strangers or younger or (which.statuses and row.status not in which.statuses):
        return "is none of those the other options name"
    return _WHY_NOT[row.status]


def _rows(idents: Collection[int]) -> Iterator[OutboxMessage]:
    return iter(db.session.scalars(select(OutboxMessage).where(OutboxMessage.id.in_(idents))))


def _moved(row: Any, new: Status) -> StatusChange:
    return StatusChange(row.id, row.account_id or SYSTEM, row.recipient, row.status, new)


def _update(idents: Sequence[int], **values: Any) -> None:
    """Change rows nobody has a lease of; the queues are taken, so there should be no other."""
    for at in range(0, len(idents), _AT_ONCE):
        some = idents[at : at + _AT_ONCE]
        free = (OutboxMessage.id.in_(some), OutboxMessage.lease_token.is_(None))
        statement = update(OutboxMessage).where(*free).values(values)
        db.session.execute(statement.execution_options(synchronize_session=False))


def _stopped(which: MessageSelection, now: datetime) -> list[Queue]:
    query = select(Queue).where(or_(Queue.held_at.is_not(None), Queue.paused_until > now))
    if which.account_id is not None:
        query = query.where(Queue.account_id == which.account_id)
    if which.before is not None:
        query = query.where(Queue.held_at < which.before)
    if which.idents:
        of_messages = select(func.coalesce(OutboxMessage.account_id, SYSTEM))
        query = query.where(Queue.account_id.in_(of_messages.where(OutboxMessage.id.in_(which.idents))))
    return list(db.session.scalars(query.order_by(Queue.account_id)))


def _released(queue: Queue) -> ReleasedQueue:
    account = None if queue.account_id == SYSTEM else queue.account_id
    waiting = select(func.count()).where(
        OutboxMessage.account_id == account, OutboxMessage.status.in_((Status.QUEUED, Status.HELD))
    )
    code = str((queue.hold_diagnosis or {}).get("code", "")) if queue.held_at else ""
    return ReleasedQueue(queue.account_id, queue.held_at, code, db.session.scalar(waiting) or 0)
