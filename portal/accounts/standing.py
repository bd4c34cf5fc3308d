"""The standing of an account: waiting, active or suspended, and whether an operator has approved it.

A waiting or suspended account sends nothing: its messages stay in its queue. An account that a visitor registered and
that no operator has approved is limited while it sends through the platform's sender (``is_limited``): it writes only to
mailboxes that were confirmed, in the default texts, a limited number of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select, update

from .. import audit
from ..db import db
from ..db.transaction import db_now
from ..jobs import notify
from ..outbox.models import OutboxMessage, Status
from ..outbox.queue import SYSTEM, get_queue
from ..security_log import SecurityEvent, record
from ..state import current_config, get_state
from .models import Account, Membership, Owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flask import Flask

    from ..outbox.models import Queue

REASON_LIMIT_CHARS = 300


class AccountState(StrEnum):
    """What an account may do. WAITING: registered, and not approved where operators approve each account."""

    WAITING = "waiting"
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Approvable(Protocol):
    """An account as a row, or as the logged-in owner's."""

    @property
    def id(self) -> int: ...
    @property
    def approved_at(self) -> datetime | None: ...


@dataclass
class _OwnServer:
    """The functions of the settings that return whether an account has a live server of its own, and sends by it now."""

    is_live: Callable[[int], bool] = lambda _account_id: False
    is_used: Callable[[int], bool] = lambda _account_id: False


def register_own_server(app: Flask, is_live: Callable[[int], bool], is_used: Callable[[int], bool]) -> None:
    """Register the functions that return whether own SMTP settings are live, and whether no failover replaces them."""
    part = get_state(app).part(_OwnServer)
    part.is_live, part.is_used = is_live, is_used


def state_of(account: Account) -> AccountState:
    """Return the state of an account."""
    if account.suspended_at is not None:
        return AccountState.SUSPENDED
    return AccountState.WAITING if account.is_waiting else AccountState.ACTIVE


def is_limited(account: Approvable, *, has_own_server: bool | None = None) -> bool:
    """Return whether the limits of unapproved accounts apply: it would send through the platform's sender.

    ``has_own_server``: whether its own settings are live, where the caller has read that; otherwise it is read here.
    """
    if account.approved_at is not None:
        return False
    if has_own_server is None:
        has_own_server = get_state().part(_OwnServer).is_live(account.id)
    return not has_own_server


def platform_limit(account: Account) -> int | None:
    """Return how many emails the platform's sender carries for an account in 24 hours; None: it has no limit.

    An account that sends by its own SMTP settings has none. During a failover it sends by the platform's sender.
    """
    limit = account.platform_per_day
    if limit is None and account.approved_at is None:
        limit = current_config().unapproved_per_account
    if limit is None or get_state().part(_OwnServer).is_used(account.id):
        return None
    return limit


def set_platform_limit(account_id: int, limit: int | None) -> None:
    """Set how many emails the platform's sender carries for an account in 24 hours; None: the default. Commits."""
    account = _lock(account_id)
    if account is not None:
        before, after = {"per_day": account.platform_per_day}, {"per_day": limit}
        audit.record(audit.Activity.PLATFORM_LIMIT_SAVED, account_id, before=before, after=after)
        account.platform_per_day = limit
        _restart(account_id)  # what waited for a lower limit leaves, and a running drain reads the new one
    db.session.commit()


def may_send(account_id: int) -> bool:
    """Return whether an account sends at all, which a waiting or suspended one does not."""
    account = db.session.get(Account, account_id)
    return account is None or state_of(account) is AccountState.ACTIVE


def gate(queue: Queue, _now: datetime) -> int | None:
    """Return 0 if the queue's account sends nothing at present, else None: no limit."""
    if queue.account_id == SYSTEM:
        return None
    columns = select(Account.is_waiting, Account.suspended_at).where(Account.id == queue.account_id)
    row = db.session.execute(columns).one_or_none()
    return 0 if row is not None and (row.is_waiting or row.suspended_at is not None) else None


# -- an operator's decisions


def approve(account_id: int, *, now: datetime) -> bool:
    """Approve an account, which ends its limits; return whether it was not approved before. Commits.

    The operator vouches for the person who registered it, so that mailbox counts as confirmed.
    """
    account = _lock(account_id)
    is_new = account is not None and account.approved_at is None
    if account is not None and is_new:
        account.approved_at, account.is_waiting = now, False
        _restart(account_id)  # locks the queue before its messages, as a drain does
        registered = select(Membership.owner_id).where(
            Membership.account_id == account_id, Membership.invited_by == ""
        )
        unconfirmed = update(Owner).where(Owner.id.in_(registered), Owner.confirmed_at.is_(None))
        db.session.execute(unconfirmed.values(confirmed_at=now))
        # What waits for a limit of unapproved accounts leaves now.
        waiting = update(OutboxMessage).where(
            OutboxMessage.account_id == account_id, OutboxMessage.status == Status.QUEUED
        )
        db.session.execute(
            waiting.values(next_attempt_at=db_now()).execution_options(synchronize_session=False)
        )
        audit.record(audit.Activity.ACCOUNT_APPROVED, account_id)
    db.session.commit()
    if is_new:
        record(SecurityEvent.ACCOUNT_APPROVED, account=account_id)
    return is_new


def suspend(account_id: int, *, reason: str, now: datetime) -> bool:
    """Suspend an account: it sends nothing until it is resumed. Return whether it was not suspended. Commits.

    A message that a worker is submitting at this moment may still leave.
    """
    account = _lock(account_id)
    is_new = account is not None and account.suspended_at is None
    if account is not None and is_new:
        account.suspended_at, account.suspension_reason = now, " ".join(reason.split())[:REASON_LIMIT_CHARS]
        get_queue(account_id, lock=True).generation += 1  # a running drain releases the rest of its batch
        after = {"reason": account.suspension_reason}
        audit.record(audit.Activity.ACCOUNT_SUSPENDED, account_id, after=after)
    db.session.commit()
    if is_new:
        record(SecurityEvent.ACCOUNT_SUSPENDED, account=account_id)
    return is_new


def resume(account_id: int) -> bool:
    """End a suspension; what waited leaves now. Return whether the account was suspended. Commits."""
    account = _lock(account_id)
    was_suspended = account is not None and account.suspended_at is not None
    if account is not None and was_suspended:
        account.suspended_at, account.suspension_reason = None, ""
        _restart(account_id)
        audit.record(audit.Activity.ACCOUNT_RESUMED, account_id)
    db.session.commit()
    if was_suspended:
        record(SecurityEvent.ACCOUNT_RESUMED, account=account_id)
    return was_suspended


def _lock(account_id: int) -> Account | None:
    # Not FOR UPDATE: other transactions can still insert rows that refer to the account, such as a log-in's session.
    locked = {"key_share": True, "of": Account}
    return db.session.get(Account, account_id, with_for_update=locked, populate_existing=True)


def _restart(account_id: int) -> None:
    """Let the account's queue be drained at once."""
    get_queue(account_id, lock=True).generation += 1
    notify.push_after_commit("drain", account_id)
