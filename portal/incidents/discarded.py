"""Why a message never left: written down when it is called off, told on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from ..db import db, insert
from ..outbox.models import OutboxMessage
from .models import Discarded

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

_AT_ONCE = 200  # rows in one statement


def write_down(idents: Collection[int], why: str, *, now: datetime) -> None:
    """Keep why messages were called off at this moment. The caller commits."""
    rows = [{"message_id": ident, "at": now, "why": why[:300]} for ident in idents]
    for at in range(0, len(rows), _AT_ONCE):
        statement = insert(Discarded).values(rows[at : at + _AT_ONCE])
        newer = {"at": statement.excluded.at, "why": statement.excluded.why}
        db.session.execute(statement.on_conflict_do_update(index_elements=["message_id"], set_=newer))


def forget(idents: Collection[int]) -> None:
    """Remove the reasons of messages that are removed. The caller commits."""
    db.session.execute(delete(Discarded).where(Discarded.message_id.in_(idents)))


def why(message_id: int) -> str:
    """Return why a message was called off; empty if it was not, or if it had a new start since."""
    query = select(Discarded.why).join(OutboxMessage, OutboxMessage.id == Discarded.message_id)
    query = query.where(Discarded.message_id == message_id, Discarded.at == OutboxMessage.settled_at)
    return db.session.scalar(query) or ""
