"""Tables of bounces: hooks of providers, the events they reported, the outcome of each message, breakers, counts by hour."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index
from .meaning import REASON_CHARS, Meaning


class EventState(StrEnum):
    """What became of an event."""

    UNVERIFIED = "unverified"  # its signature needs a certificate that is fetched first
    WAITING = "waiting"  # not matched with a message yet
    MATCHED = "matched"
    UNMATCHED = "unmatched"  # no message of this account is meant


class SuppressionEffect(StrEnum):
    """What an outcome did to the recipient's mailbox."""

    NONE = ""
    SUPPRESSED = "suppressed"
    WAITS = "waits"  # a breaker is open for the domain
    DISMISSED = "dismissed"  # the owner decided against it


class BounceHook(Base):
    """The address to which one provider posts its events about one account's messages.

    The secret in the address is found by its hash, and sealed so that the page can show it again. ``sealed_key`` verifies
    the provider's signatures. ``topic`` is the SNS topic that was subscribed.
    """

    __tablename__ = "bounce_hook"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    provider: Mapped[str] = mapped_column(String(20))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    topic: Mapped[str] = mapped_column(String(300), default="")
    created_at: Mapped[datetime]
    last_event_at: Mapped[datetime | None]
    events: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)  # calls with a wrong signature
    refused_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("account_id", "provider"),)


class FormerSecret(Base):
    """A secret of a hook that was replaced. Its address works until ``works_until``."""

    __tablename__ = "bounce_hook_former"
    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    hook_id: Mapped[int] = mapped_column(ForeignKey("bounce_hook.id"), index=True)
    works_until: Mapped[datetime]


# Conditions of partial indexes. Queries repeat them literally, so that the planner recognises the indexes.
HAS_RAW = text("raw <> ''")
IS_UNMATCHED = text("state = 'unmatched'")


class BounceEvent(Base):
    """One event about one recipient, as it was reported. ``key`` is a hash, so a repeated event is not stored again."""

    __tablename__ = "bounce_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    source: Mapped[str] = mapped_column(String(20))  # a provider's id, or the way it came
    key: Mapped[str] = mapped_column(String(64))
    proof: Mapped[str] = mapped_column(String(80), default="")  # a token that one event alone may use
    state: Mapped[EventState] = mapped_column(enum_column(EventState), default=EventState.WAITING)
    meaning: Mapped[Meaning] = mapped_column(enum_column(Meaning))
    kind: Mapped[str] = mapped_column(String(80), default="")
    recipient: Mapped[str] = mapped_column(String(254), default="")
    occurred_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(12), default="")
    reply_code: Mapped[int | None]
    reason: Mapped[str] = mapped_column(String(REASON_CHARS), default="")
    reference: Mapped[str] = mapped_column(String(64), default="")
    queue_id: Mapped[str] = mapped_column(String(120), default="")
    header_id: Mapped[str] = mapped_column(String(300), default="")
    is_listed: Mapped[bool] = mapped_column(default=False)
    raw: Mapped[str] = mapped_column(Text, default="")  # kept for 30 days
    message_id: Mapped[int | None]  # in the outbox, once it is matched
    received_at: Mapped[datetime]
    next_at: Mapped[datetime | None]  # when it is matched again; NULL: not any more
    tries: Mapped[int] = mapped_column(default=0)
    __table_args__ = (
        UniqueConstraint("account_id", "source", "key"),
        partial_index(
            text("proof <> ''"), "uq_bounce_event_proof", "account_id", "source", "proof", unique=True
        ),
        partial_index(text("next_at IS NOT NULL"), "ix_bounce_event_due", "next_at", "account_id", "id"),
        partial_index(text("message_id IS NOT NULL"), "ix_bounce_event_message", "message_id", "id"),
        Index("ix_bounce_event_list", "account_id", "state", "id"),
        # What is cleaned up; most rows have neither after 30 days.
        partial_index(HAS_RAW, "ix_bounce_event_raw", "received_at"),
        partial_index(IS_UNMATCHED, "ix_bounce_event_unmatched", "received_at"),
    )


# The rows that breakers and incidents count. Queries repeat this condition literally, or the index is not used.
REFUSED = text("meaning IN ('hard', 'blocked')")


# The source of an outcome that was not reported: the account's server refused the mailbox itself. Only a breaker counts it.
REFUSED_AT_ONCE = "smtp"


class MessageOutcome(Base):
    """What became of a message after a server had accepted it: the highest meaning that was reported."""

    __tablename__ = "message_outcome"
    message_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account_id: Mapped[int]
    mailbox_key: Mapped[str] = mapped_column(String(254))
    domain: Mapped[str] = mapped_column(String(254))
    meaning: Mapped[Meaning] = mapped_column(enum_column(Meaning))
    source: Mapped[str] = mapped_column(String(20))
    event_key: Mapped[str] = mapped_column(String(64))  # of the event that decides
    occurred_at: Mapped[datetime]
    noted_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(12), default="")
    reply_code: Mapped[int | None]
    reason: Mapped[str] = mapped_column(String(REASON_CHARS), default="")
    is_listed: Mapped[bool] = mapped_column(default=False)
    sent_at: Mapped[datetime]  # when the message was accepted, else enqueued
    effect: Mapped[SuppressionEffect] = mapped_column(
        enum_column(SuppressionEffect), default=SuppressionEffect.NONE
    )
    __table_args__ = (
        Index("ix_message_outcome_mailbox", "account_id", "mailbox_key", "sent_at"),
        partial_index(REFUSED, "ix_message_outcome_refused", "account_id", "domain", "meaning", "noted_at"),
    )


class OutcomeHour(Base):
    """How many messages that an account sent within an hour have this outcome now."""

    __tablename__ = "outcome_hour"
    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    meaning: Mapped[Meaning] = mapped_column(enum_column(Meaning), primary_key=True)
    count: Mapped[int]
    __table_args__ = (Index("ix_outcome_hour_hour", "hour"), {"sqlite_with_rowid": False})


class BreakerDecision(StrEnum):
    """What the owner decided about the mailboxes of a breaker."""

    OPEN = ""
    SUPPRESS = "suppress"
    KEEP = "keep"


class BounceBreaker(Base):
    """Very many mailboxes of one domain were reported as unknown within an hour: none is suppressed until the owner decides."""

    __tablename__ = "bounce_breaker"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    domain: Mapped[str] = mapped_column(String(254))
    opened_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]  # as opened_at; earlier releases set it to the last report
    closed_at: Mapped[datetime | None]
    decision: Mapped[BreakerDecision] = mapped_column(
        enum_column(BreakerDecision), default=BreakerDecision.OPEN
    )
    __table_args__ = (
        partial_index(
            text("closed_at IS NULL"), "uq_bounce_breaker_open", "account_id", "domain", unique=True
        ),
        Index("ix_bounce_breaker_list", "account_id", "id"),
    )
