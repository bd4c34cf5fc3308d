"""Tables of the API: tokens, and the requests answered so far, by idempotency key."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column


class TokenScope(StrEnum):
    """What a token may do. Each has one purpose, so that a token in a place that only reads a status reports no purchase."""

    EVENTS = "events"  # report events, and read them and their emails
    SENDING = "sending"  # read the sending status
    AFFILIATES = "affiliates"  # add, read, change and erase affiliates
    SETTINGS = "settings"  # read who sends, save drafts of the SMTP settings and check them


class ApiToken(Base):
    """A token of an account; only its hash is stored. ``form_key`` identifies the form that created it, once."""

    __tablename__ = "api_token"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(String(60))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    form_key: Mapped[str] = mapped_column(String(43))
    scope: Mapped[TokenScope] = mapped_column(enum_column(TokenScope, 20), default=TokenScope.EVENTS)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))  # the owner's name, kept after the owner is deleted
    created_by_id: Mapped[
        int | None
    ]  # None: made before ids were stored. No foreign key, as the token outlives the person
    expires_at: Mapped[datetime | None]  # None: it works until it is revoked
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str] = mapped_column(String(100), default="")
    __table_args__ = (
        UniqueConstraint("account_id", "form_key"),
        Index("ix_api_token_list", "account_id", "id"),
    )


class ApiRequest(Base):
    """A request by its idempotency key, so that a repeat gets the same response.

    Holds no personal data: the response is built from the event. ``statuses`` are those of the first response, by
    message id.
    """

    __tablename__ = "api_request"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(100))
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the body
    # No foreign key: the event is written after this row, which is inserted first to block concurrent duplicates.
    event_id: Mapped[int | None]
    affiliate_id: Mapped[int | None]  # of a request that stored an affiliate
    statuses: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("account_id", "key"),)
