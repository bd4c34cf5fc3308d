"""Changes for the worse: recorded when the status of a sending domain drops, and reported to listeners.

Listeners run inside the transaction that records the change; they do not commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..db import db
from ..state import get_state
from .models import DomainChange, DomainCheck, DomainStatus

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

# Called when a change begins or grows (``ended_at`` is None), and again when it has ended.
Listener = Callable[[DomainChange], None]


@dataclass
class _ChangeListeners:
    listeners: list[Listener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Register a function that receives changes for the worse and their ends."""
    get_state(app).part(_ChangeListeners).listeners.append(listener)


def open_change(account_id: int, domain: str) -> DomainChange | None:
    """Return the change of a domain that has not ended, if there is one."""
    query = select(DomainChange).where(
        DomainChange.account_id == account_id, DomainChange.domain == domain, DomainChange.ended_at.is_(None)
    )
    return db.session.scalar(query.order_by(DomainChange.id.desc()).limit(1))


def record_status(check: DomainCheck, status: DomainStatus, reason: str, *, now: datetime) -> None:
    """Compare the status of the live version's domain with the last known one and record a change. The caller commits.

    The status ``unknown`` changes nothing: a name server that does not answer proves nothing about the domain.
    """
    previous = check.last_known_status
    _end_other_domains(check, now)
    if status is DomainStatus.UNKNOWN:
        return
    change = open_change(check.account_id, check.domain)
    if change is not None and status.rank >= change.previous_status.rank:
        change.ended_at = now
        _notify(change)
    elif change is not None and status is not change.new_status:
        change.new_status, change.reason = status, reason[:500]
        _notify(change)
    elif change is None and previous is not None and status.rank < previous.rank:
        change = DomainChange(
            account_id=check.account_id, domain=check.domain, previous_status=previous, new_status=status
        )
        change.reason, change.since = reason[:500], now
        db.session.add(change)
        db.session.flush()
        _notify(change)


def _end_other_domains(check: DomainCheck, now: datetime) -> None:
    """End the changes of domains from which the account no longer sends."""
    query = select(DomainChange).where(
        DomainChange.account_id == check.account_id,
        DomainChange.domain != check.domain,
        DomainChange.ended_at.is_(None),
    )
    for change in db.session.scalars(query).all():
        change.ended_at = now
        _notify(change)


def _notify(change: DomainChange) -> None:
    for listener in get_state().part(_ChangeListeners).listeners:
        listener(change)
