"""The tables of the outbox: messages, delivery attempts, queues and connection leases."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index

# Open messages: neither accepted nor given up. Queries repeat this condition literally, or the partial indexes are not used.
OPEN = "status IN ('queued', 'sending', 'held')"


def _open_only(name: str, *columns: str, also: str = "") -> Index:
    """Return an index over open messages alone, which stays small however many were ever sent."""
    return partial_index(text(OPEN + also), name, *columns)


_HAS_TRACEBACK = text("traceback <> ''")  # few rows


class Status(StrEnum):
    """The state of a message. SENT means accepted by the submission server, as the pages explain."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    HELD = "held"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """The result of one attempt."""

    STARTED = "started"  # recorded before the first byte is sent
    ACCEPTED = "accepted"
    DEFERRED = "deferred"  # will be retried
    REJECTED = "rejected"  # will not be retried
    HELD = "held"  # the settings are at fault, not the message
    INTERRUPTED = "interrupted"  # the worker crashed: the server may have the message


class OutboxMessage(Base):
    """A message, rendered when it was enqueued and due from the commit of that transaction.

    ``account_id`` is empty for the portal's own mail (password resets), which always uses the operator's server. Its
    body is sealed (``is_sealed``) and cleared at settlement, because it may contain a log-in link.
    """

    __tablename__ = "outbox_message"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(String(120), unique=True)  # idempotency key
    # The Message-ID: set at the first attempt, and changed only while no server may have the message.
    message_id: Mapped[str | None] = mapped_column(String(300))
    recipient: Mapped[str] = mapped_column(String(254))
    recipient_name: Mapped[str] = mapped_column(String(100), default="")
    subject: Mapped[str] = mapped_column(String(500))
    text: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text, default="")
    is_sealed: Mapped[bool] = mapped_column(default=False)
    is_test: Mapped[bool] = mapped_column(default=False)  # sent first, even while the queue is held
    is_custom: Mapped[bool] = mapped_column(default=False)  # its text or its look is the owner's own
    unsubscribe_url: Mapped[str] = mapped_column(Text, default="")  # a POST to it unsubscribes the recipient
    copy_of_id: Mapped[int | None]  # the message of which this is a copy
    forced_version_id: Mapped[int | None]  # the settings version of a check, live or not
    status: Mapped[Status] = mapped_column(enum_column(Status), default=Status.QUEUED)
    attempts: Mapped[int] = mapped_column(default=0)  # that count against the message
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    retries_reset_at: Mapped[datetime | None]  # by an operator's retry: earlier attempts do not count
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
    """One attempt to submit a message. Inserted before the first byte is sent, and completed with the result."""

    __tablename__ = "delivery_attempt"
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("outbox_message.id"))
    number: Mapped[int]
    version_number: Mapped[int | None]  # of the settings; empty: the platform's sender
    server: Mapped[str] = mapped_column(String(260), default="")  # host:port
    sender: Mapped[str] = mapped_column(Text, default="")  # the From header as sent
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
    traceback: Mapped[str] = mapped_column(
        Text, default=""
    )  # of an internal error; shown to the operator only
    __table_args__ = (
        UniqueConstraint("message_id", "number"),
        Index("ix_delivery_attempt_started_at", "started_at"),
        partial_index(_HAS_TRACEBACK, "ix_delivery_attempt_traceback", "id"),
    )


class Queue(Base):
    """One account's queue: whether it is held or paused, and how its server has behaved."""

    __tablename__ = "outbox_queue"
    # The account's id, or 0 (SYSTEM) for the portal's own mail: a primary key cannot be empty.
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    held_at: Mapped[datetime | None]
    hold_diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # of the failure that caused the hold
    paused_until: Mapped[datetime | None]  # after a failure of the server: nothing is sent before then
    consecutive_failures: Mapped[int] = mapped_column(default=0)
    next_probe_at: Mapped[datetime | None]  # when one held message is sent as a probe
    failed_probes: Mapped[int] = mapped_column(default=0)  # in a row
    healthy: Mapped[bool] = mapped_column(default=False)  # the server answered last time
    # Connections after a failure: 0 means one message, then 1, 2 ...; empty: no limit.
    ramp_limit: Mapped[int | None]
    generation: Mapped[int] = mapped_column(default=0)  # changes when the queue is held or released
    last_served_at: Mapped[datetime | None]  # the queue served longest ago is drained first


class ConnectionLease(Base):
    """The right to one connection to an account's server, until the lease ends.

    The rows bound the connections of each account and of the whole portal, over all machines.
    """

    __tablename__ = "connection_lease"
    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int] = mapped_column(index=True)
    lease_until: Mapped[datetime]
