"""Tables of the log: a row for each message, rollups of full hours and days, and bulk actions.

Database triggers (``triggers.py``) write the rows in the transaction that changes a message, so they are never late
and the outbox does not depend on them.
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

# Compared by code point in every locale of the database, because prefixes are searched.
_BYTE_ORDERED = String(254).with_variant(String(254, collation="C"), "postgresql")

# Conditions of the partial indexes. Queries repeat them literally, so that the planner recognises the indexes.
FAILED = text("status = 'failed'")
NOT_EMPTY = {name: text(f"{name} <> ''") for name in ("reference", "queue_id", "outcome")}


def _partial_index(name: str, known: TextClause, *columns: str) -> Index:
    """Return an index of rows with a value that a queued message lacks, so that enqueuing never writes to it."""
    return partial_index(known, f"ix_delivery_log_{name}", "account_id", *columns)


class LogRow(Base):
    """One message of an account with everything that can be filtered by, and without its text."""

    __tablename__ = "delivery_log"
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[int]
    created_at: Mapped[datetime]
    status: Mapped[Status] = mapped_column(enum_column(Status))
    kind: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(_BYTE_ORDERED)  # in lower case
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
    # What was reported after its acceptance (bounces.meaning.Meaning); the server default serves the triggers.
    outcome: Mapped[str] = mapped_column(String(12), server_default="")
    __table_args__ = (
        Index("ix_delivery_log_log", "account_id", "message_id", "created_at"),
        Index("ix_delivery_log_status", "account_id", "status", "message_id", "created_at"),
        Index("ix_delivery_log_kind", "account_id", "kind", "message_id"),
        Index("ix_delivery_log_recipient", "account_id", "recipient", "message_id"),
        Index("ix_delivery_log_domain", "account_id", "domain", "message_id"),
        Index("ix_delivery_log_created", "account_id", "created_at", "message_id"),
        _partial_index("version", text("version IS NOT NULL"), "version", "message_id"),
        _partial_index("code", text("code IS NOT NULL"), "code", "message_id"),
        _partial_index("settled", text("settled_at IS NOT NULL"), "settled_at", "status", "seconds"),
        # Of messages that still have their text, which the retention looks for; the others leave it with their text.
        _partial_index("with_text", text("wiped_at IS NULL AND settled_at IS NOT NULL"), "settled_at"),
        *(_partial_index(name, NOT_EMPTY[name], name) for name in ("reference", "queue_id")),
        _partial_index("outcome", NOT_EMPTY["outcome"], "outcome", "message_id"),
        # Failed messages are searched together with another condition; accepted ones are not in these indexes.
        *(
            partial_index(
                FAILED, f"ix_delivery_log_failed_{name}", "account_id", "status", name, "message_id"
            )
            for name in ("kind", "code", "version")
        ),
    )


class DeliveryHour(Base):
    """Counts of an account's settled messages in a full hour, by status and duration step."""

    __tablename__ = "delivery_hour"
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(enum_column(Status), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # index in stats.STEPS_S
    count: Mapped[int]
    __table_args__ = {"sqlite_with_rowid": False}  # stored in the order of the key, in which it is read


class AttemptTotal(Base):
    """Counts of attempts since the beginning, up to the rollup's cursor; later ones are counted live."""

    __tablename__ = "attempt_total"
    provider: Mapped[str] = mapped_column(String(40), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(12), primary_key=True)
    stage: Mapped[str] = mapped_column(String(12), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # -1: not accepted
    count: Mapped[int]
    seconds: Mapped[float]  # from the event to acceptance, added up


class RollupCursor(Base):
    """How far a rollup has counted."""

    __tablename__ = "rollup_cursor"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    until: Mapped[datetime]


class RetentionSetting(Base):
    """How long an account keeps the text of its messages, and the messages."""

    __tablename__ = "delivery_retention"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    body_days: Mapped[int]
    row_days: Mapped[int]


class Action(StrEnum):
    """What a bulk action does."""

    RETRY = "retry"
    CANCEL = "cancel"
    RELEASE = "release"


class BulkActionState(StrEnum):
    """The state of a bulk action."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


class BulkAction(Base):
    """An action on many messages, run in batches: on those selected, or on all that match the filters."""

    __tablename__ = "bulk_action"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(60), unique=True)  # of the form: sent twice it makes one action
    action: Mapped[Action] = mapped_column(enum_column(Action))
    filters: Mapped[dict[str, Any]] = mapped_column(JSON)
    message_ids: Mapped[list[int] | None] = mapped_column(JSON)
    total: Mapped[int] = mapped_column(default=0)
    more: Mapped[bool] = mapped_column(default=False)  # total is a lower bound
    done: Mapped[int] = mapped_column(default=0)  # processed, whether or not they were changed
    changed: Mapped[int] = mapped_column(default=0)
    max_message_id: Mapped[int]  # newer messages are not in its scope
    cursor: Mapped[int | None]  # the oldest message processed
    state: Mapped[BulkActionState] = mapped_column(
        enum_column(BulkActionState), default=BulkActionState.WAITING
    )
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_bulk_action_account", "account_id", "id"),
        Index("ix_bulk_action_state", "state"),
    )


# The page of a message lists its copies; few messages are copies.
partial_index(text("copy_of_id IS NOT NULL"), "ix_outbox_message_copy", OutboxMessage.copy_of_id)


@event.listens_for(Base.metadata, "after_create")
def _create_triggers(
    _metadata: object, bind: Connection, *, tables: Sequence[Table], **_more: object
) -> None:
    """Create the triggers where the tables are created without migrations."""
    if any(table.name == LogRow.__tablename__ for table in tables):
        ddl(bind)
