"""Why messages were cancelled: recorded at the cancellation, shown on the message's page."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, db, insert
from .models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Collection

_BATCH_ROWS = 200  # in one statement
_REASON_CHARS = 300


class MessageCancellation(Base):
    """The reason why one message was cancelled, by its owner or because its recipient must not receive it any more."""

    __tablename__ = "message_cancellation"
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(String(_REASON_CHARS))


def record_reason(message_ids: Collection[int], reason: str, *, now: datetime) -> None:
    """Record why messages were cancelled ``now``. The caller commits."""
    rows = [{"message_id": id_, "at": now, "reason": reason[:_REASON_CHARS]} for id_ in message_ids]
    for start in range(0, len(rows), _BATCH_ROWS):
        statement = insert(MessageCancellation).values(rows[start : start + _BATCH_ROWS])
        newer = {"at": statement.excluded.at, "reason": statement.excluded.reason}
        db.session.execute(statement.on_conflict_do_update(index_elements=["message_id"], set_=newer))


def delete_reasons(message_ids: Collection[int]) -> None:
    """Delete the reasons together with their messages. The caller commits."""
    db.session.execute(delete(MessageCancellation).where(MessageCancellation.message_id.in_(message_ids)))


def find_reason(message_id: int) -> str:
    """Return why a message was cancelled; empty if it was not, or if it was retried since."""
    row = MessageCancellation
    query = select(row.reason).join(OutboxMessage, OutboxMessage.id == row.message_id)
    query = query.where(row.message_id == message_id, row.at == OutboxMessage.settled_at)
    return db.session.scalar(query) or ""
