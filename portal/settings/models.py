"""How an account sends: numbered versions of its SMTP settings, and the checks that proved them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, index_of, words

DETECT = "detect"  # stands for a security and port that are still to be found out


class State(StrEnum):
    """Where a version stands. At most one of an account is live."""

    DRAFT = "draft"
    LIVE = "live"
    RETIRED = "retired"


class CheckState(StrEnum):
    """Where a check stands."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class SmtpSettings(Base):
    """One version. It is never edited: saving makes the next one. Empty wrapped user means ``info``."""

    __tablename__ = "smtp_settings"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    number: Mapped[int]
    provider: Mapped[str] = mapped_column(String(40), default="other")
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int]  # 0 until detected
    security: Mapped[str] = mapped_column(String(12))  # a Security, or DETECT
    mechanism: Mapped[str] = mapped_column(String(12))
    username: Mapped[str] = mapped_column(String(254))
    sealed_password: Mapped[bytes] = mapped_column(LargeBinary)
    password_saved_at: Mapped[datetime]
    domain: Mapped[str] = mapped_column(String(253))
    wrapped_user: Mapped[str] = mapped_column(String(64))
    from_name: Mapped[str] = mapped_column(String(100), default="")
    reply_to: Mapped[str] = mapped_column(String(254), default="")
    ehlo_name: Mapped[str] = mapped_column(String(253), default="")  # empty: the portal's own name
    credential_warnings: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, default=list
    )  # what its shape betrayed when saved
    state: Mapped[State] = mapped_column(words(State), default=State.DRAFT)
    created_at: Mapped[datetime]
    live_since: Mapped[datetime | None]
    # Since when mail goes through the platform instead, because this version's server fails. It stays live.
    failover_since: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("account_id", "number"),
        # The database itself keeps two versions from being live at once.
        index_of(text("state = 'live'"), "uq_smtp_settings_live", "account_id", unique=True),
    )

    @property
    def sender(self) -> str:
        """The mailbox in From and in the envelope."""
        return f"{self.wrapped_user}@{self.domain}"


class SettingsCheck(Base):
    """One climb of the ladder with one version, ending with a real New Sign-up email to the owner."""

    __tablename__ = "settings_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("smtp_settings.id"), index=True)
    recipient: Mapped[str] = mapped_column(String(254))
    recipient_name: Mapped[str] = mapped_column(String(100))
    state: Mapped[CheckState] = mapped_column(words(CheckState), default=CheckState.WAITING)
    stages: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # as they were climbed
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    fix: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # a change that was proved to help
    transcript: Mapped[str] = mapped_column(Text, default="")
    message_id: Mapped[int | None]  # the outbox row of the test email
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (Index("ix_settings_check_state", "state"),)


class LoginProbe(Base):
    """Daily login probe of a version: when the login last succeeded, and until when it should."""

    __tablename__ = "login_probe"
    version_id: Mapped[int] = mapped_column(
        ForeignKey("smtp_settings.id"), primary_key=True, autoincrement=False
    )
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    passed_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    next_at: Mapped[datetime] = mapped_column(index=True)
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # of the last failure
    certificate_until: Mapped[datetime | None]
