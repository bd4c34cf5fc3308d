"""An operator's orders over the outbox of all accounts: retry or cancel emails, and release queues.

An order is shown with what it would change first. What is queued after that is left out. An email or queue that changes its
state after that counts with the new one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from .. import audit
from ..accounts import identifiers
from ..db import db, read_only
from ..outbox import admin
from ..outbox.admin import MessageSelection
from ..outbox.models import Status
from ..outbox.queue import SYSTEM
from .report import OWN_MAIL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..outbox.admin import ReleasedQueue, StatusChange

MAX_EMAILS = 5000  # of one order on the page; commands change any number


class OrderAction(StrEnum):
    """What becomes of the emails."""

    RETRY = "retry"
    CANCEL = "cancel"
    RELEASE = "release"  # of whole queues


STATUSES: Mapping[OrderAction, Sequence[Status]] = {
    OrderAction.RETRY: (Status.FAILED, Status.QUEUED, Status.CANCELLED),
    OrderAction.CANCEL: (Status.QUEUED, Status.HELD),
    OrderAction.RELEASE: (),
}
AGES: Mapping[str, timedelta] = {
    "any": timedelta(0),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}


class UnknownAccount(Exception):
    """No account has this short name."""


@dataclass(frozen=True)
class OutboxOrder:
    """An order. ``account`` is a short name, @portal, or empty for all.

    ``before``: emails that were queued earlier, or with RELEASE queues that were held earlier; None: all stopped queues.
    """

    action: OrderAction
    account: str
    status: Status | None
    before: datetime | None


@dataclass(frozen=True)
class OrderPreview:
    """What an order would change: emails by account, or with RELEASE the emails of each queue that is stopped."""

    order: OutboxOrder
    accounts: Sequence[tuple[str, int]]

    @property
    def emails(self) -> int:
        return sum(count for _name, count in self.accounts)

    @property
    def is_too_large(self) -> bool:
        return self.order.action is not OrderAction.RELEASE and self.emails > MAX_EMAILS


def preview(order: OutboxOrder, *, now: datetime) -> OrderPreview:
    """Return what an order would change now. Changes nothing. Raises UnknownAccount."""
    with read_only():
        selection = _selection(order)
        counts = _counts(order, selection, now)
        slugs = identifiers.account_slugs()
        db.session.rollback()
    named = [
        (OWN_MAIL if id_ == SYSTEM else slugs.get(id_, str(id_)), count) for id_, count in counts.items()
    ]
    return OrderPreview(order, sorted(named, key=lambda one: (-one[1], one[0])))


def give(order: OutboxOrder, *, now: datetime) -> int:
    """Carry an order out; return how many emails were changed, or queues released. Commits. Raises UnknownAccount."""
    selection = _selection(order)
    if order.action is OrderAction.RELEASE:
        recorded = partial(record_change, audit.Activity.OUTBOX_RELEASED)
        return len(admin.release_queues(selection, now=now, on_change=recorded))
    if order.action is OrderAction.RETRY:
        recorded = partial(record_change, audit.Activity.OUTBOX_RETRIED)
        return len(admin.retry(selection, now=now, on_change=recorded).changed)
    recorded = partial(record_change, audit.Activity.OUTBOX_CANCELLED)
    return len(admin.cancel(selection, now=now, on_change=recorded).changed)


def record_change(action: audit.Activity, changed: Sequence[StatusChange] | Sequence[ReleasedQueue]) -> None:
    """Add a row for each account to the audit trail, in the transaction of the change."""
    for account_id, count in Counter(one.account_id for one in changed).items():
        of = None if account_id == SYSTEM else account_id
        audit.record(action, of, after={"count": count})


def _selection(order: OutboxOrder) -> MessageSelection:
    account_id = None
    if order.account:
        account_id = SYSTEM if order.account == OWN_MAIL else identifiers.find_account_id(order.account)
        if account_id is None:
            raise UnknownAccount
    if order.action is OrderAction.RELEASE:
        return MessageSelection(account_id, before=order.before)
    return MessageSelection(account_id, (order.status,) if order.status else (), (), order.before)


def _counts(order: OutboxOrder, selection: MessageSelection, now: datetime) -> dict[int, int]:
    if order.action is OrderAction.RELEASE:
        return {one.account_id: one.waiting for one in admin.release_queues(selection, now=now, dry_run=True)}
    count = admin.count_to_retry if order.action is OrderAction.RETRY else admin.count_to_cancel
    return count(selection)
