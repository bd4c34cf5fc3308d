"""Bulk actions: retry, cancel or release many messages, counted first and then run by the worker in batches.

An action applies to the messages that existed when it was created. Each batch is one commit together with the action's
cursor, so a new worker continues where a crashed one stopped; a batch that is repeated changes nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, or_, select, update

from .. import audit
from ..clock import utcnow
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..jobs import notify
from ..outbox import admin
from ..outbox.admin import MessageSelection
from ..outbox.models import OutboxMessage, Status
from ..outbox.sending.deliver import stopping
from ..web.pagination import Count
from . import search
from .filters import Filters
from .models import Action, BulkAction, BulkActionState, LogRow
from .query_plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

JOB = "bulk-action"
BATCH = 200  # messages in one transaction
MAX_SELECTED = 500  # a page offers far fewer to tick
_KEY_CHARS = 60
_JOBS_PER_SWEEP = 50
_OPEN = (BulkActionState.WAITING, BulkActionState.RUNNING)
_LAST = PreparedStatement(
    select(BulkAction.id, BulkAction.state)
    .where(BulkAction.account_id == bindparam("account_id"))
    .order_by(BulkAction.id.desc())
    .limit(5)
)
_SOURCE_STATUSES = {
    Action.RETRY: admin.RETRYABLE,
    Action.CANCEL: admin.CANCELLABLE,
    Action.RELEASE: (Status.HELD,),
}


@dataclass(frozen=True)
class Scope:
    """The messages an action applies to: those selected by id, or, with None, all that match the filters."""

    filters: Filters
    message_ids: Sequence[int] | None = None


def preview(account_id: int, action: Action, scope: Scope) -> Count:
    """Count the messages of the scope that the action can change."""
    if scope.message_ids is not None:
        return Count(len(_changeable(account_id, scope.message_ids, action)))
    if action is Action.RELEASE:
        return search.count_status(account_id, Status.HELD)
    number, more = 0, False
    for status in _SOURCE_STATUSES[action]:
        if scope.filters.status in (None, status):
            plan = make_plan(account_id, replace(scope.filters, status=status))
            found = search.find(plan, size=search.MAX_COUNT + 1)
            number += len(_changeable(account_id, found.message_ids, action))
            more = more or search.counted(found).more
    return Count(min(number, search.MAX_COUNT), more or number > search.MAX_COUNT)


def create(account_id: int, action: Action, scope: Scope, *, key: str, now: datetime) -> BulkAction:
    """Create an action and push its job; the same ``key`` returns the action there is. Commits."""
    count = preview(account_id, action, scope)
    newest = select(func.max(LogRow.message_id)).where(LogRow.account_id == account_id)
    message_ids = scope.message_ids
    values = {
        "account_id": account_id,
        "key": f"{account_id}:{key}"[:_KEY_CHARS],
        "action": action,
        "filters": scope.filters.query(),
        "message_ids": None if message_ids is None else sorted(set(message_ids))[:MAX_SELECTED],
        "total": count.number,
        "more": count.more,
        "done": 0,
        "changed": 0,
        "max_message_id": db.session.scalar(newest) or 0,
        "state": BulkActionState.WAITING,
        "created_at": now,
    }
    inserted_id = db.session.execute(
        insert(BulkAction)
        .values(values)
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(BulkAction.id)
    ).scalar_one_or_none()
    if inserted_id is not None:
        notify.push_after_commit(JOB, inserted_id)
        chosen = scope.filters.query() | ({"q": "set"} if scope.filters.q else {})
        target, after = (
            audit.AuditTarget("order", inserted_id),
            {"action": action.value, "count": count.number},
        )
        audit.record(audit.Activity.ORDER_GIVEN, account_id, target=target, after=after | chosen)
    db.session.commit()
    return db.session.scalars(select(BulkAction).where(BulkAction.key == values["key"])).one()


def get(account_id: int, action_id: int) -> BulkAction | None:
    """Return one of the account's actions."""
    query = select(BulkAction).where(BulkAction.id == action_id, BulkAction.account_id == account_id)
    return db.session.scalar(query)


def list_open(account_id: int) -> list[BulkAction]:
    """Return those of the account's last five actions that have not ended."""
    open_ids = [action_id for action_id, state in _LAST.all(account_id=account_id) if state in _OPEN]
    return [db.session.get_one(BulkAction, action_id) for action_id in open_ids]


def stop(row: BulkAction, *, now: datetime) -> None:
    """Stop an action after its current batch. Commits."""
    db.session.refresh(row, with_for_update=True)
    if row.state in _OPEN:
        row.state, row.ended_at = BulkActionState.STOPPED, now
        audit.record(audit.Activity.ORDER_STOPPED, row.account_id, target=audit.AuditTarget("order", row.id))
    db.session.commit()


def find_due_work(_now: datetime) -> list[tuple[str, int]]:
    """Return the jobs of the actions that have not ended."""
    query = select(BulkAction.id).where(BulkAction.state.in_(_OPEN)).order_by(BulkAction.id)
    return [(JOB, action_id) for action_id in db.session.scalars(query.limit(_JOBS_PER_SWEEP))]


def run(action_id: int) -> None:
    """Run an action batch by batch until it ends or the worker stops. Commits each batch."""
    while not stopping.is_set() and _run_batch(action_id, utcnow()):
        pass


def _run_batch(action_id: int, now: datetime) -> bool:
    """Run the next batch; return whether there are more. Commits."""
    row = db.session.get(BulkAction, action_id, with_for_update=True, populate_existing=True)
    if row is None or row.state not in _OPEN:
        db.session.rollback()
        return False
    if row.action is Action.RELEASE:
        return _release(row, now)
    message_ids, cursor = _next_batch(row)
    row.state, row.cursor = BulkActionState.RUNNING, cursor
    row.done = row.done + len(message_ids)
    if cursor is None:
        row.state, row.ended_at = BulkActionState.DONE, now
    more = cursor is not None
    if not message_ids:
        db.session.commit()
        return more
    operation = admin.retry if row.action is Action.RETRY else admin.cancel
    selection = MessageSelection(
        account_id=row.account_id, message_ids=message_ids, statuses=_SOURCE_STATUSES[row.action]
    )
    changed = len(operation(selection, now=now).changed)
    # The operation committed the batch with the cursor; the number it changed is known only now.
    counted = (
        update(BulkAction).where(BulkAction.id == action_id).values(changed=BulkAction.changed + changed)
    )
    db.session.execute(counted.execution_options(synchronize_session=False))
    db.session.commit()
    return more


def _next_batch(row: BulkAction) -> tuple[list[int], int | None]:
    """Return the next messages, newest first, and the new cursor; None at the end."""
    before = row.cursor if row.cursor is not None else row.max_message_id + 1
    if row.message_ids is not None:
        batch = [message_id for message_id in reversed(row.message_ids) if message_id < before][:BATCH]
        cursor = batch[-1] if batch and batch[-1] > row.message_ids[0] else None
        return _changeable(row.account_id, batch, row.action), cursor
    found = search.find(make_plan(row.account_id, Filters.read(row.filters)), before=before, size=BATCH)
    cursor = found.message_ids[-1] if len(found.message_ids) == BATCH else found.seen_to
    return _changeable(row.account_id, found.message_ids, row.action), cursor


def _changeable(account_id: int, message_ids: Sequence[int], action: Action) -> list[int]:
    """Return those of the messages that the action can change and that still have a text, newest first."""
    row, found = OutboxMessage, list[int]()
    conditions = [
        row.account_id == account_id,
        row.status.in_(_SOURCE_STATUSES[action]),
        row.forced_version_id.is_(None),
        row.text != "",
    ]
    if action is Action.RETRY:  # what is due leaves anyway, and a test is tried once
        conditions += [
            row.is_test.is_(False),
            or_(row.status != Status.QUEUED, row.next_attempt_at > utcnow()),
        ]
    for start in range(0, len(message_ids), MAX_SELECTED):
        batch = row.id.in_(message_ids[start : start + MAX_SELECTED])
        found += db.session.scalars(select(row.id).where(batch, *conditions))
    return sorted(found, reverse=True)


def _release(row: BulkAction, now: datetime) -> bool:
    """Release the account's queue: one operation, whatever the number of messages."""
    row.state, row.ended_at = BulkActionState.DONE, now
    row.done = row.changed = row.total
    admin.release_queues(MessageSelection(account_id=row.account_id), now=now)
    return False
