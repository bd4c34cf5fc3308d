"""Orders about many messages at once: counted first, then worked off by the worker in batches.

An order means the messages there were when it was given. Each batch is one commit together with how far the
order has come, so a worker that dies goes on where it was; a batch done twice changes nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from ..clock import utcnow
from ..db import db, insert
from ..jobs import notify
from ..outbox import admin
from ..outbox.admin import MessageSelection
from ..outbox.models import OutboxMessage, Status
from ..outbox.sending.deliver import stopping
from . import search
from .filters import Filters
from .models import Action, BulkOrder, DeliveryLine, State
from .query_plan import plan
from .search import Count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

JOB = "bulk-action"
BATCH = 200
MOST_NAMED = 500  # messages ticked on one page are far fewer
_OPEN = (State.WAITING, State.RUNNING)
_POSSIBLE = {
    Action.RETRY: admin.RETRYABLE,
    Action.CANCEL: admin.CANCELLABLE,
    Action.RELEASE: (Status.HELD,),
}


def preview(account_id: int, action: Action, filters: Filters, idents: Sequence[int] | None) -> Count:
    """Count the messages an order would mean: those it names, or all that match and may be moved so."""
    if idents is not None:
        return Count(len(_mine(account_id, idents, _POSSIBLE[action])))
    if action is Action.RELEASE:
        return search.count_status(account_id, Status.HELD)
    return search.count(plan(account_id, filters))


def give(
    account_id: int,
    action: Action,
    filters: Filters,
    idents: Sequence[int] | None,
    *,
    key: str,
    now: datetime,
) -> BulkOrder:
    """Give an order; the same form sent twice gives one. Commits."""
    count = preview(account_id, action, filters, idents)
    newest = select(func.max(DeliveryLine.message_id)).where(DeliveryLine.account_id == account_id)
    values = {
        "account_id": account_id,
        "key": f"{account_id}:{key}"[:60],
        "action": action,
        "filters": filters.query(),
        "message_ids": None if idents is None else sorted(set(idents))[:MOST_NAMED],
        "total": count.number,
        "more": count.more,
        "done": 0,
        "changed": 0,
        "max_message_id": db.session.scalar(newest) or 0,
        "state": State.WAITING,
        "created_at": now,
    }
    fresh = db.session.execute(
        insert(BulkOrder)
        .values(values)
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(BulkOrder.id)
    ).scalar_one_or_none()
    if fresh is not None:
        notify.push_after_commit(JOB, fresh)
    db.session.commit()
    return db.session.scalars(select(BulkOrder).where(BulkOrder.key == values["key"])).one()


def order_of(account_id: int, ident: int) -> BulkOrder | None:
    """Return one of the account's orders."""
    return db.session.scalar(
        select(BulkOrder).where(BulkOrder.id == ident, BulkOrder.account_id == account_id)
    )


def recent(account_id: int) -> list[BulkOrder]:
    """Return the account's orders that are still being carried out."""
    query = select(BulkOrder).where(BulkOrder.account_id == account_id).order_by(BulkOrder.id.desc()).limit(5)
    return [order for order in db.session.scalars(query) if order.state in _OPEN]


def stop(order: BulkOrder, *, now: datetime) -> None:
    """End an order after the batch in hand. Commits."""
    db.session.refresh(order, with_for_update=True)
    if order.state in _OPEN:
        order.state, order.ended_at = State.STOPPED, now
    db.session.commit()


def due(now: datetime) -> list[tuple[str, int]]:
    """Return the orders to go on with, for the sweep."""
    query = select(BulkOrder.id).where(BulkOrder.state.in_(_OPEN)).order_by(BulkOrder.id)
    return [(JOB, ident) for ident in db.session.scalars(query.limit(50))]


def carry_out(ident: int) -> None:
    """Work an order off, batch by batch."""
    while not stopping.is_set() and _batch(ident, utcnow()):
        pass


def _batch(ident: int, now: datetime) -> bool:
    """Do the next batch. Commits. Return whether there is more."""
    order = db.session.get(BulkOrder, ident, with_for_update=True, populate_existing=True)
    if order is None or order.state not in _OPEN:
        db.session.rollback()
        return False
    if order.action is Action.RELEASE:
        return _release(order, now)
    idents, cursor = _next(order)
    order.state, order.cursor = State.RUNNING, cursor
    order.done = order.done + len(idents)
    if cursor is None:
        order.state, order.ended_at = State.DONE, now
    deed = admin.retry if order.action is Action.RETRY else admin.cancel
    more = cursor is not None
    if not idents:
        db.session.commit()
        return more
    which = MessageSelection(
        account_id=order.account_id, message_ids=idents, statuses=_POSSIBLE[order.action]
    )
    changed = len(deed(which, now=now).changed)
    # The deed has committed the batch with how far the order came; what it changed is told right after.
    counted = update(BulkOrder).where(BulkOrder.id == ident).values(changed=BulkOrder.changed + changed)
    db.session.execute(counted.execution_options(synchronize_session=False))
    db.session.commit()
    return more


def _next(order: BulkOrder) -> tuple[list[int], int | None]:
    """Return the next messages, newest first, and where to go on; None at the end."""
    top = order.cursor if order.cursor is not None else order.max_message_id + 1
    possible = _POSSIBLE[order.action]
    if order.message_ids is not None:
        left = [ident for ident in reversed(order.message_ids) if ident < top][:BATCH]
        more = left[-1] if left and left[-1] > order.message_ids[0] else None
        return _mine(order.account_id, left, possible), more
    found = search.find(plan(order.account_id, Filters.read(order.filters)), before=top, size=BATCH)
    more = found.idents[-1] if len(found.idents) == BATCH else found.seen_to
    return _mine(order.account_id, found.idents, possible), more


def _mine(account_id: int, idents: Sequence[int], possible: Sequence[Status]) -> list[int]:
    """Of these messages, the account's that stand where the order may move them, and that can still be sent."""
    row = OutboxMessage
    query = select(row.id).where(
        row.id.in_(idents[:MOST_NAMED]),
        row.account_id == account_id,
        row.status.in_(possible),
        row.forced_version_id.is_(None),
        row.text != "",
    )
    return list(db.session.scalars(query.order_by(row.id.desc())))


def _release(order: BulkOrder, now: datetime) -> bool:
    """Let the account's queue move again: it is one deed, however many wait."""
    order.state, order.ended_at = State.DONE, now
    order.done = order.changed = order.total
    admin.release_queues(MessageSelection(account_id=order.account_id), now=now)
    return False
