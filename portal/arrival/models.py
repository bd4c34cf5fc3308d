"""Table of the test emails: what each was sent as, whether it was received, and what its headers showed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class FromOutcome(StrEnum):
    """How the From address of a test email was received, by its pasted headers. The values are stored."""

    AS_PROMISED = "as-promised"  # the address that was sent, and the receiver authenticated its domain
    REPLACED = "replaced"  # another address
    REFUTED = "refuted"  # the address that was sent, but the receiver could not authenticate its domain
    NO_RESULTS = "no-results"  # the address that was sent, and no results of the receiver


class TestEmail(Base):
    """A test email, also that of a settings check. No foreign key to its message, which is deleted after its retention.

    The columns from ``sent_at`` to ``queue_id`` are set when the server accepts it, ``received_at`` by the link in it, and
    the columns from ``pasted_at`` on by its pasted headers.
    """

    __tablename__ = "test_email"
    __test__ = False  # no test of pytest
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    message_id: Mapped[int] = mapped_column(unique=True)  # the row of the outbox
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    recipient: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # of the link
    sent_at: Mapped[datetime | None]
    version_number: Mapped[int | None]  # of the settings; empty: the platform's sender
    sender: Mapped[str] = mapped_column(Text, default="")  # the From header
    return_path: Mapped[str] = mapped_column(String(254), default="")  # the mailbox in MAIL FROM
    reply_to: Mapped[str] = mapped_column(String(254), default="")
    header_id: Mapped[str] = mapped_column(String(300), default="")  # the Message-ID
    queue_id: Mapped[str] = mapped_column(String(120), default="")
    received_at: Mapped[datetime | None]
    pasted_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(String(20), default="")  # a FromOutcome; empty: no headers yet
    observed: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # ``Observed.as_dict``
    __table_args__ = (Index("ix_test_email_list", "account_id", "id"),)
