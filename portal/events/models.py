"""Tables of events, their emails, and the weeks that were summarized."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index
from .types import EventType, Source


class EmailDecision(StrEnum):
    """The decision about one email of an event: queued (stored as an empty string), or the reason why not.

    IN_DIGEST: sent together with others as one message, or waiting for it.
    """

    QUEUED = ""
    OFF = "notice-off"
    OPTED_OUT = "opted-out"
    SUPPRESSED = "suppressed"
    NOT_CONFIRMED = "not-confirmed"
    DUPLICATE = "duplicate"
    IN_DIGEST = "in-digest"
    SUSPENDED = "suspended"
    NOT_APPROVED = "not-approved"
    NO_ADDRESS = "no-address"
    NOT_ACTIVE = "not-active"
    UNRENDERABLE = "text-refused"
    NOTHING_TO_TELL = "nothing-to-tell"
    TOO_OLD = "too-old"
    SAME_ORDER = "same-order"
    NO_CHANGE = "no-change"


# The condition of a partial index. Queries repeat it literally, so that the planner recognises the index.
IS_WELCOME = text("type IN ('signed-up', 'approved')")


class Event(Base):
    """Something that happened in a programme. ``key`` identifies it within the account."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    affiliate_id: Mapped[int | None] = mapped_column(ForeignKey("affiliate.id"))
    type: Mapped[EventType] = mapped_column(enum_column(EventType, 24))
    key: Mapped[str] = mapped_column(String(200))
    values: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # of the event's type, as text
    source: Mapped[Source] = mapped_column(enum_column(Source))
    created_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("account_id", "key"),
        Index("ix_event_list", "account_id", "id"),
        Index("ix_event_affiliate", "affiliate_id", "id"),
        partial_index(IS_WELCOME, "ix_event_welcome", "affiliate_id"),
        Index("ix_event_week", "account_id", "type", "created_at"),
    )


class EventMail(Base):
    """One email of an event, with the decision about it. While ``digest_at`` is set, it waits for a digest."""

    __tablename__ = "event_mail"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(String(254))
    # In the outbox. No foreign key, because messages are pruned sooner than events.
    message_id: Mapped[int | None] = mapped_column(index=True)
    decision: Mapped[EmailDecision] = mapped_column(
        enum_column(EmailDecision, 20), default=EmailDecision.QUEUED
    )
    digest_at: Mapped[datetime | None]  # when this and others are due as one message
    digest_account_id: Mapped[int | None]  # the event's account, of an email that waits or waited
    __table_args__ = (
        partial_index(text("digest_at IS NOT NULL"), "ix_event_mail_digest_at", "digest_at"),
        partial_index(
            text("digest_at IS NOT NULL"), "ix_event_mail_digest_account", "digest_account_id", "digest_at"
        ),
    )


class WeekState(StrEnum):
    """Progress of the summaries of a week."""

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"


class Week(Base):
    """The summaries of one account's week. ``after_id`` is the last affiliate that was processed."""

    __tablename__ = "summary_week"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    week: Mapped[str] = mapped_column(String(8))  # in ISO 8601 format: 2026-W47
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    due_at: Mapped[datetime]
    state: Mapped[WeekState] = mapped_column(enum_column(WeekState), default=WeekState.PLANNED)
    after_id: Mapped[int] = mapped_column(default=0)
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("account_id", "week"),
        Index("ix_summary_week_state", "state", "due_at"),
    )
