"""Queries of events, always within one account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..db import db
from ..web.pagination import Page, newest_first
from .models import BounceEvent, EventState

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_OF_MESSAGE = 50


def list_unmatched(account_id: int, *, before: int | None, after: int | None) -> Page[Any]:
    """Return one page of the events without a message, newest first."""
    query = select(BounceEvent).where(
        BounceEvent.account_id == account_id, BounceEvent.state == EventState.UNMATCHED
    )
    return newest_first(query, BounceEvent.id, before=before, after=after, size=20)


def has_unmatched(account_id: int) -> bool:
    """Return whether the account has events without a message."""
    query = select(BounceEvent.id).where(
        BounceEvent.account_id == account_id, BounceEvent.state == EventState.UNMATCHED
    )
    return db.session.scalar(query.limit(1)) is not None


def of_message(message_id: int) -> Sequence[BounceEvent]:
    """Return the events of a message, oldest first."""
    query = select(BounceEvent).where(
        BounceEvent.message_id.is_not(None), BounceEvent.message_id == message_id
    )
    return db.session.scalars(query.order_by(BounceEvent.id).limit(_MAX_OF_MESSAGE)).all()
