"""Queries of events, always within one account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from ..db import db
from ..web.pagination import Page, is_in, newest_first
from . import outcomes
from .models import BounceEvent, EventState

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_OF_MESSAGE = 50  # providers report a few; some repeat a delay for days


def list_unmatched(account_id: int, *, before: int | None, after: int | None, search: str = "") -> Page[Any]:
    """Return one page of the events without a message, newest first. ``search`` is part of a recipient or of the event's kind."""
    query = select(BounceEvent).where(
        BounceEvent.account_id == account_id, BounceEvent.state == EventState.UNMATCHED
    )
    if search:
        query = query.where(is_in(search, BounceEvent.recipient, BounceEvent.kind))
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
    return db.session.scalars(query.order_by(BounceEvent.id).limit(MAX_OF_MESSAGE)).all()


def drop_surplus(message_id: int) -> None:
    """Delete the newest events of a message beyond ``MAX_OF_MESSAGE``, except the one that decides. The caller commits."""
    query = select(BounceEvent.id, BounceEvent.source, BounceEvent.key).where(
        BounceEvent.message_id.is_not(None), BounceEvent.message_id == message_id
    )
    newest = db.session.execute(query.order_by(BounceEvent.id.desc()).limit(MAX_OF_MESSAGE + 1)).all()
    if len(newest) <= MAX_OF_MESSAGE:
        return
    outcome = outcomes.find(message_id)
    decides = (outcome.source, outcome.event_key) if outcome is not None else None
    surplus = next(row.id for row in newest if (row.source, row.key) != decides)
    db.session.execute(
        delete(BounceEvent).where(BounceEvent.id == surplus).execution_options(synchronize_session=False)
    )
