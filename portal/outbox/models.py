"""The outbox: what is owed, what was tried, and whether an account's queue may move."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index

# What is still owed. The claims name it in the same words: only then is an index over these rows alone used.
OPEN = "status IN ('queued', 'sending', 'held')"


def _open_only(name: str, *columns: str, also: str = "") -> Index:
    """An index over what is owed alone, so that it stays small however much was ever sent."""
    return partial_index(text(OPEN + also), name, *columns)


_FAULTY = text("traceback <> ''")  # hardly any


class Status(StrEnum):
    """Where a message stands. SENT means accepted by the submission server, and pages say it so."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    HELD = "held"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How one attempt ended."""

    STARTED = "started"  # the intent, recorded before the first byte
    ACCEPTED = "accepted"
    DEFERRED = "deferred"  # tried again later
    REJECTED = "rejected"  # never tried again
    HELD = "held"  # the settings are at fault, not this message
    INTERRUPTED = "interrupted"  # the worker died; the server may or may not hold the message


class OutboxMessage(Base):
    """A message owed from the moment the transaction that caused it commits. What it says is frozen here.

    ``account_id`` is empty for the portal's own mail (password resets), which always takes the operator's
    server; its body is sealed (``private``) and wiped once it is settled, because it may hold a log-in link.
    """

    __tablename__ = "outbox_message"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(String(120), unique=True)  # idempotency key
    message_id: Mapped[str | None] = mapped_column(
        String(300)
    )  # set at the first attempt, then never changed
    recipient: Mapped[str] = mapped_column(String(254))
    recipient_name: Mapped[str] = mapped_column(String(100), default="")
    subject: Mapped[str] = mapped_column(String(500))
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text, default="")
    is_sealed: Mapped[bool] = mapped_column(default=False)
    is_test: Mapped[bool] = mapped_column(
        default=False
    )  # a test: goes first, and even while the queue is held
    unsubscribe_url: Mapped[str] = mapped_column(Text, default="")  # one click there ends mail of this kind
    copy_of_id: Mapped[int | None]  # the message of which somebody asked for another copy
    forced_version_id: Mapped[int | None]  # settings version a check sends it through, whatever is live
    status: Mapped[Status] = mapped_column(enum_column(Status), default=Status.QUEUED)
    attempts: Mapped[int] = mapped_column(default=0)  # those that count against the message
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    retries_reset_at: Mapped[
        datetime | None
    ]  # when an operator gave it a new start: earlier tries count no more
    settled_at: Mapped[datetime | None]
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_outbox_message_log", "account_id", "id"),
        _open_only("ix_outbox_message_due", "account_id", "status", "next_attempt_at", "id"),
        _open_only("ix_outbox_message_recipient", "account_id", "recipient", "id"),
        _open_only("ix_outbox_message_test", "account_id", "next_attempt_at", "id", also=" AND is_test"),
    )


class DeliveryAttempt(Base):
    """One try at handing a message in. It is written before the first byte and completed with the result."""

    __tablename__ = "delivery_attempt"
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("outbox_message.id"))
    number: Mapped[int]
    version_number: Mapped[int | None]  # of the settings; empty: the platform's sender
    server: Mapped[str] = mapped_column(String(260), default="")  # host:port
    sender: Mapped[str] = mapped_column(Text, default="")  # the From as it left, its name encoded
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[Outcome] = mapped_column(enum_column(Outcome), default=Outcome.STARTED)
    ambiguous: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str] = mapped_column(String(12), default="")
    reply_code: Mapped[int | None]
    enhanced_code: Mapped[str] = mapped_column(String(12), default="")
    reply_text: Mapped[str] = mapped_column(String(500), default="")
    queue_id: Mapped[str] = mapped_column(String(120), default="")
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    transcript: Mapped[str] = mapped_column(Text, default="")
    traceback: Mapped[str] = mapped_column(Text, default="")  # of ours: the traceback, for the operator alone
    __table_args__ = (
        UniqueConstraint("message_id", "number"),
        Index("ix_delivery_attempt_started_at", "started_at"),
        partial_index(_FAULTY, "ix_delivery_attempt_traceback", "id"),
    )


class Queue(Base):
    """One account's queue: whether it moves, and how it did of late."""

    __tablename__ = "outbox_queue"
    # The account's id, or 0 for the portal's own mail: a key is never empty, so there is one row only.
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    held_at: Mapped[datetime | None]
    hold_diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # the diagnosis
    paused_until: Mapped[datetime | None]  # server trouble: nothing leaves before then
    consecutive_failures: Mapped[int] = mapped_column(default=0)  # how many in a row
    next_probe_at: Mapped[datetime | None]  # when one held message may be tried again
    failed_probes: Mapped[int] = mapped_column(default=0)  # how many probes in a row failed
    healthy: Mapped[bool] = mapped_column(default=False)  # its server answered last time
    ramp_limit: Mapped[
        int | None
    ]  # connections allowed after trouble: 0 one message, then 1, 2 ...; empty: all
    generation: Mapped[int] = mapped_column(
        default=0
    )  # changes when it is held or let go: look at everything anew
    last_served_at: Mapped[datetime | None]  # whoever was served longest ago comes first


class ConnectionLease(Base):
    """A connection to a server, or the right to open one, for as long as its lease lasts.

    The rows are what bounds the connections of an account and of the whole portal, over all machines.
    """

    __tablename__ = "connection_lease"
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int] = mapped_column(index=True)
    lease_until: Mapped[datetime]
