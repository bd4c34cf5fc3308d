"""Bulk actions on messages and queues: retry, cancel, release.

Messages that are being sent or were sent are never changed. Each action first locks the queues, as a drain does before
it claims, so an action and a drain never change the same message at once. Each action is one commit; with ``dry_run`` it
only reports what it would change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, func, or_, select, update

from ..db import db
from ..db.transaction import db_now
from ..jobs import notify
from .models import OutboxMessage, Queue, Status
from .queue import SYSTEM, release

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime

RETRYABLE = (Status.FAILED, Status.QUEUED, Status.CANCELLED)
CANCELLABLE = (Status.QUEUED, Status.HELD)
_T = TypeVar("_T")
_BATCH_IDS = 500  # in one statement

_REFUSAL_REASONS = {
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
    """Conditions on messages, all of which apply; an empty one matches every message.

    ``account_id`` is SYSTEM for the portal's own mail. ``before``: the message was enqueued earlier.
    """

    account_id: int | None = None
    statuses: Collection[Status] = ()
    message_ids: Collection[int] = ()
    before: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions in SQL, except for the one on the status."""
        found: list[ColumnElement[bool]] = []
        if self.account_id is not None:
            found.append(func.coalesce(OutboxMessage.account_id, SYSTEM) == self.account_id)
        if self.message_ids:
            found.append(OutboxMessage.id.in_(self.message_ids))
        if self.before is not None:
            found.append(OutboxMessage.created_at < self.before)
        return found


@dataclass(frozen=True)
class StatusChange:
    """A message whose status was changed, or would be."""

    message_id: int
    account_id: int
    recipient: str
    old: Status
    new: Status


@dataclass(frozen=True)
class AdminResult:
    """What was changed, or would be. ``refused``: message id -> why a message selected by its id is not changed."""

    changed: Sequence[StatusChange]
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleasedQueue:
    """A queue that was released, or would be; ``waiting`` counts its messages."""

    account_id: int
    held_at: datetime | None
    code: str  # of the diagnosis; empty if the queue was only paused
    waiting: int


def retry(
    selection: MessageSelection,
    *,
    now: datetime,
    dry_run: bool = False,
    on_change: Callable[[Sequence[StatusChange]], None] | None = None,
) -> AdminResult:
    """Retry messages from the first attempt on: failed ones, those waiting for a retry, and cancelled ones if selected.

    Messages of a held queue wait with it. A test or a check is never repeated, as its result was reported; a message
    whose body was cleared (the portal's own mail, at settlement) cannot be repeated. Commits, after
    ``on_change`` got what changed, unless nothing did.
    """
    held = _lock_queues(dry_run=dry_run)
    rows = _select_rows(_to_retry(selection))
    changed = [
        _status_change(row, Status.HELD if (row.account_id or SYSTEM) in held else Status.QUEUED)
        for row in rows
    ]
    refused = _refusals(selection, changed)
    if dry_run:
        db.session.rollback()
        return AdminResult(changed, refused)
    fresh = {"next_attempt_at": db_now(), "retries_reset_at": now, "attempts": 0, "settled_at": None}
    for status in (Status.QUEUED, Status.HELD):
        _update([one.message_id for one in changed if one.new is status], status=status, **fresh)
    for account_id in {one.account_id for one in changed}:
        notify.push_after_commit("drain", account_id)
    _report(changed, on_change)
    db.session.commit()
    return AdminResult(changed, refused)


def cancel(
    selection: MessageSelection,
    *,
    now: datetime,
    dry_run: bool = False,
    on_change: Callable[[Sequence[StatusChange]], None] | None = None,
) -> AdminResult:
    """Cancel waiting and held messages, and clear the bodies of the portal's own mail. Commits, as ``retry``."""
    _lock_queues(dry_run=dry_run)
    rows = _select_rows(_to_cancel(selection))
    changed = [_status_change(row, Status.CANCELLED) for row in rows]
    refused = _refusals(selection, changed)
    if dry_run:
        db.session.rollback()
        return AdminResult(changed, refused)
    sealed = [row.id for row in rows if row.is_sealed]
    _update([one.message_id for one in changed], status=Status.CANCELLED, settled_at=now)
    _update(sealed, text="", html="")
    _report(changed, on_change)
    db.session.commit()
    return AdminResult(changed, refused)


def release_queues(
    selection: MessageSelection,
    *,
    now: datetime,
    dry_run: bool = False,
    on_change: Callable[[Sequence[ReleasedQueue]], None] | None = None,
) -> list[ReleasedQueue]:
    """Release held and paused queues, whatever stopped them. Commits, as ``retry``.

    The selection names accounts, or messages whose queues are released; ``before``: the queue was held earlier.
    """
    _lock_queues(dry_run=dry_run)
    found = [_describe_release(queue) for queue in _stopped_queues(selection, now)]
    if dry_run:
        db.session.rollback()
        return found
    for one in found:
        queue = db.session.get_one(Queue, one.account_id)
        queue.paused_until, queue.consecutive_failures = None, 0
        release(one.account_id or None)
    _report(found, on_change)
    db.session.commit()
    return found


def _report(changed: Sequence[_T], on_change: Callable[[Sequence[_T]], None] | None) -> None:
    if changed and on_change is not None:
        on_change(changed)


def _lock_queues(*, dry_run: bool) -> set[int]:
    """Lock all queues until the transaction ends, in a fixed order; return the account ids of the held ones."""
    query = select(Queue).order_by(Queue.account_id).execution_options(populate_existing=True)
    queues = db.session.scalars(query if dry_run else query.with_for_update())
    return {queue.account_id for queue in queues if queue.held_at is not None}


def count_to_retry(selection: MessageSelection) -> dict[int, int]:
    """Return how many messages of each account ``retry`` would change now. Locks nothing."""
    return _count(_to_retry(selection))


def count_to_cancel(selection: MessageSelection) -> dict[int, int]:
    """Return how many messages of each account ``cancel`` would change now. Locks nothing."""
    return _count(_to_cancel(selection))


def _count(conditions: Sequence[ColumnElement[bool]]) -> dict[int, int]:
    account = func.coalesce(OutboxMessage.account_id, SYSTEM)
    query = select(account, func.count()).where(*conditions).group_by(OutboxMessage.account_id)
    return dict(db.session.execute(query).all())


def _to_retry(selection: MessageSelection) -> list[ColumnElement[bool]]:
    return [
        *_changeable(selection, RETRYABLE, (Status.FAILED, Status.QUEUED)),
        OutboxMessage.is_test.is_(False),
        or_(OutboxMessage.status != Status.QUEUED, OutboxMessage.next_attempt_at > db_now()),
        OutboxMessage.text != "",  # cleared when it was settled, or after the account's retention
    ]


def _to_cancel(selection: MessageSelection) -> list[ColumnElement[bool]]:
    return _changeable(selection, CANCELLABLE, CANCELLABLE)


def _changeable(
    selection: MessageSelection, possible: Collection[Status], default: Collection[Status]
) -> list[ColumnElement[bool]]:
    """Return the conditions of the selected rows that may be changed; ``default`` applies if no statuses are selected.

    Messages of checks are left out, as only the check itself settles them.
    """
    statuses = set(selection.statuses or default) & set(possible)
    return [
        OutboxMessage.status.in_(statuses),
        OutboxMessage.forced_version_id.is_(None),
        *selection.conditions(),
    ]


def _select_rows(conditions: Sequence[ColumnElement[bool]]) -> list[Any]:
    row = OutboxMessage
    query = select(row.id, row.account_id, row.recipient, row.status, row.is_sealed).where(*conditions)
    return list(db.session.execute(query.order_by(row.id)))


def _refusals(selection: MessageSelection, changed: Sequence[StatusChange]) -> dict[int, str]:
    """Return the reason for each message that is selected by its id and not changed."""
    missing = sorted(set(selection.message_ids) - {one.message_id for one in changed})
    rows = {row.id: row for row in _rows(missing)}
    return {id_: _refusal_reason(rows.get(id_), selection) for id_ in missing}


def _refusal_reason(row: OutboxMessage | None, selection: MessageSelection) -> str:
    if row is None:
        return "does not exist"
    if row.forced_version_id is not None or row.is_test:
        return "is a test or a check, which is tried once"
    if not row.text:
        return "was settled, and its words were wiped"
    is_other = selection.account_id not in (None, row.account_id or SYSTEM)
    is_younger = selection.before is not None and row.created_at >= selection.before
    if is_other or is_younger or (selection.statuses and row.status not in selection.statuses):
        return "is none of those the other options name"
    return _REFUSAL_REASONS[row.status]


def _rows(message_ids: Collection[int]) -> Iterator[OutboxMessage]:
    return iter(db.session.scalars(select(OutboxMessage).where(OutboxMessage.id.in_(message_ids))))


def _status_change(row: Any, new: Status) -> StatusChange:
    return StatusChange(row.id, row.account_id or SYSTEM, row.recipient, row.status, new)


def _update(message_ids: Sequence[int], **values: Any) -> None:
    """Change rows without a lease; as the queues are locked, none of them should have one."""
    for start in range(0, len(message_ids), _BATCH_IDS):
        batch = message_ids[start : start + _BATCH_IDS]
        free = (OutboxMessage.id.in_(batch), OutboxMessage.lease_token.is_(None))
        statement = update(OutboxMessage).where(*free).values(values)
        db.session.execute(statement.execution_options(synchronize_session=False))


def _stopped_queues(selection: MessageSelection, now: datetime) -> list[Queue]:
    query = select(Queue).where(or_(Queue.held_at.is_not(None), Queue.paused_until > now))
    if selection.account_id is not None:
        query = query.where(Queue.account_id == selection.account_id)
    if selection.before is not None:
        query = query.where(Queue.held_at < selection.before)
    if selection.message_ids:
        of_messages = select(func.coalesce(OutboxMessage.account_id, SYSTEM))
        query = query.where(
            Queue.account_id.in_(of_messages.where(OutboxMessage.id.in_(selection.message_ids)))
        )
    return list(db.session.scalars(query.order_by(Queue.account_id)))


def _describe_release(queue: Queue) -> ReleasedQueue:
    account = None if queue.account_id == SYSTEM else queue.account_id
    waiting = select(func.count()).where(
        OutboxMessage.account_id == account, OutboxMessage.status.in_((Status.QUEUED, Status.HELD))
    )
    code = str((queue.hold_diagnosis or {}).get("code", "")) if queue.held_at else ""
    return ReleasedQueue(queue.account_id, queue.held_at, code, db.session.scalar(waiting) or 0)
