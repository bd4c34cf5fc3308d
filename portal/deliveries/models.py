"""What the log is read from: a slim line for each message, rollups of what is over, orders about many messages.

The database keeps the lines itself (``triggers.py``), in the transaction that changes a message, so the
outbox knows nothing of them and no line is ever late.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Connection, ForeignKey, Index, String, Table, TextClause, event, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index
from ..outbox.models import OutboxMessage, Status
from .triggers import ddl

if TYPE_CHECKING:
    from collections.abc import Sequence

# Sorted by its letters' numbers, whatever the language of the database: beginnings are searched.
_SORTED = String(254).with_variant(String(254, collation="C"), "postgresql")

# As they stand in the queries as well, so that the indexes are recognised.
FAILED = text("status = 'failed'")
NAMED = {name: text(f"{name} <> ''") for name in ("reference", "queue_id")}


def _later(name: str, known: TextClause, *columns: str) -> Index:
    """An index over messages of which something is known that nobody knows of one just owed, which it costs nothing."""
    return partial_index(known, f"ix_delivery_log_{name}", "account_id", *columns)


class DeliveryLine(Base):
    """One message of an account, in what is asked for: no bodies, everything that can be filtered by."""

    __tablename__ = "delivery_log"
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[int]
    created_at: Mapped[datetime]
    status: Mapped[Status] = mapped_column(enum_column(Status))
    kind: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(_SORTED)  # in small letters
    domain: Mapped[str] = mapped_column(String(254))
    subject: Mapped[str] = mapped_column(String(500))
    reference: Mapped[str] = mapped_column(String(300), default="")  # its Message-ID
    attempt: Mapped[int] = mapped_column(default=0)  # the number of the last one that ended
    version: Mapped[int | None]  # of the settings, at that attempt
    code: Mapped[int | None]  # the server's, at that attempt
    queue_id: Mapped[str] = mapped_column(String(120), default="")
    settled_at: Mapped[datetime | None]
    seconds: Mapped[float | None]  # from the event to acceptance
    wiped_at: Mapped[datetime | None]  # when its text was removed
    __table_args__ = (
        Index("ix_delivery_log_log", "account_id", "message_id", "created_at"),
        Index("ix_delivery_log_status", "account_id", "status", "message_id", "created_at"),
        Index("ix_delivery_log_kind", "account_id", "kind", "message_id"),
        Index("ix_delivery_log_recipient", "account_id", "recipient", "message_id"),
        Index("ix_delivery_log_domain", "account_id", "domain", "message_id"),
        Index("ix_delivery_log_created", "account_id", "created_at", "message_id"),
        _later("version", text("version IS NOT NULL"), "version", "message_id"),
        _later("code", text("code IS NOT NULL"), "code", "message_id"),
        _later("settled", text("settled_at IS NOT NULL"), "settled_at", "status", "seconds"),
        _later("wiped", text("settled_at IS NOT NULL"), "wiped_at", "settled_at"),
        *(_later(name, named, name) for name, named in NAMED.items()),
        # What failed is asked for together with something else; accepted mail never touches these.
        *(
            partial_index(
                FAILED, f"ix_delivery_log_failed_{name}", "account_id", "status", name, "message_id"
            )
            for name in ("kind", "code", "version")
        ),
    )


class DeliveryHour(Base):
    """What came of an account's messages in an hour that is over, by how long acceptance took."""

    __tablename__ = "delivery_hour"
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(enum_column(Status), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # figures.STEPS
    count: Mapped[int]
    __table_args__ = {"sqlite_with_rowid": False}  # kept in the order in which it is added up


class AttemptTotal(Base):
    """How many attempts ended how, since the beginning; what is younger than the mark is counted live."""

    __tablename__ = "attempt_total"
    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(12), primary_key=True)
    stage: Mapped[str] = mapped_column(String(12), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # -1: not accepted
    count: Mapped[int]
    seconds: Mapped[float]  # from the event to acceptance, added up


class RollMark(Base):
    """Up to when a rollup has counted."""

    __tablename__ = "rollup_cursor"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    until: Mapped[datetime]


class DeliveryKeeping(Base):
    """How long an account keeps the words of its messages, and the messages."""

    __tablename__ = "delivery_retention"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    body_days: Mapped[int]
    row_days: Mapped[int]


class Action(StrEnum):
    """What may be ordered for many messages at once."""

    RETRY = "retry"
    CANCEL = "cancel"
    RELEASE = "release"


class State(StrEnum):
    """Where an order stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


class BulkOrder(Base):
    """An order about many messages, worked off in batches: those named, or all that match the filters."""

    __tablename__ = "bulk_action"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(60), unique=True)  # of the form: sent twice it is one order
    action: Mapped[Action] = mapped_column(enum_column(Action))
    filters: Mapped[dict[str, Any]] = mapped_column(JSON)
    message_ids: Mapped[list[int] | None] = mapped_column(JSON)
    total: Mapped[int] = mapped_column(default=0)
    more: Mapped[bool] = mapped_column(default=False)  # the total is a lower bound
    done: Mapped[int] = mapped_column(default=0)  # looked at
    changed: Mapped[int] = mapped_column(default=0)
    max_message_id: Mapped[int]  # messages newer than the order are not meant
    cursor: Mapped[int | None]  # the oldest message seen to
    state: Mapped[State] = mapped_column(enum_column(State), default=State.WAITING)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_bulk_action_account", "account_id", "id"),
        Index("ix_bulk_action_state", "state"),
    )


# A message's further copies are looked for on its page; few messages are copies.
partial_index(text("copy_of_id IS NOT NULL"), "ix_outbox_message_copy", OutboxMessage.copy_of_id)


@event.listens_for(Base.metadata, "after_create")
def _with_triggers(_metadata: object, bind: Connection, *, tables: Sequence[Table], **_more: object) -> None:
    """Where the tables are made without migrations, the triggers come with them."""
    if any(table.name == DeliveryLine.__tablename__ for table in tables):
        ddl(bind)
