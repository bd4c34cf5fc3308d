"""When a domain's verdict becomes worse, that is kept, and whoever listens is told.

Listeners work inside the transaction that records the change and do not commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..db import db
from ..state import get_state
from .models import DomainChange, DomainCheck, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from flask import Flask

# Told of a change for the worse when it begins (``ended_at`` is None) and again when it has ended.
Listener = Callable[[DomainChange], None]


@dataclass
class _Listeners:
    listeners: list[Listener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Let somebody hear of changes for the worse, and of their ends."""
    get_state(app).part(_Listeners).listeners.append(listener)


def open_change(account_id: int, domain: str) -> DomainChange | None:
    """Return what became worse and still is."""
    query = select(DomainChange).where(
        DomainChange.account_id == account_id, DomainChange.domain == domain, DomainChange.ended_at.is_(None)
    )
    return db.session.scalar(query.order_by(DomainChange.id.desc()).limit(1))


def compare(check: DomainCheck, became: Verdict, why: str, *, now: datetime) -> None:
    """Record what a look at the live version's domain found, next to what was known. The caller commits.

    A look that could not look changes nothing, so that a silent name server is no bad news about the domain.
    """
    was = check.last_known_status
    _end_others(check, now)
    if became is Verdict.UNKNOWN:
        return
    known = open_change(check.account_id, check.domain)
    if known is not None and became.rank >= known.previous_status.rank:
        known.ended_at = now
        _tell(known)
    elif known is not None and became is not known.new_status:
        known.new_status, known.reason = became, why[:500]
        _tell(known)
    elif known is None and was is not None and became.rank < was.rank:
        change = DomainChange(
            account_id=check.account_id, domain=check.domain, previous_status=was, new_status=became
        )
        change.reason, change.since = why[:500], now
        db.session.add(change)
        db.session.flush()
        _tell(change)


def _end_others(check: DomainCheck, now: datetime) -> None:
    """What was worse about a domain that no longer sends is over."""
    query = select(DomainChange).where(
        DomainChange.account_id == check.account_id,
        DomainChange.domain != check.domain,
        DomainChange.ended_at.is_(None),
    )
    for change in db.session.scalars(query).all():
        change.ended_at = now
        _tell(change)


def _tell(change: DomainChange) -> None:
    for listener in get_state().part(_Listeners).listeners:
        listener(change)
