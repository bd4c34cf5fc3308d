"""Tables of the SMTP settings: versions, their checks and login probes, and proofs of domains."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column, partial_index

# Whether a row of the table is the live version of its account. A condition with a parameter would cost SQLite ten times
# the look-up: whether the index of live versions serves it depends on the value, so each run prepares the statement anew.
IS_LIVE = text("smtp_settings.state = 'live'")
DETECT = "detect"  # value of ``security`` while port and encryption are to be detected


class VersionState(StrEnum):
    """State of a version. At most one version of an account is live."""

    DRAFT = "draft"
    LIVE = "live"
    RETIRED = "retired"
    DISCARDED = "discarded"  # a draft that its owner discarded: without a password, and on no page


class CheckState(StrEnum):
    """State of a settings check."""

    WAITING = "waiting"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"


class SmtpSettings(Base):
    """One version of an account's SMTP settings. A saved version is not edited: saving creates the next one."""

    __tablename__ = "smtp_settings"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    number: Mapped[int]
    provider: Mapped[str] = mapped_column(String(40), default="other")
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int]  # 0: to be detected
    security: Mapped[str] = mapped_column(String(12))  # a Security, or DETECT
    mechanism: Mapped[str] = mapped_column(String(12))
    username: Mapped[str] = mapped_column(String(254))
    sealed_password: Mapped[bytes] = mapped_column(LargeBinary)
    password_saved_at: Mapped[datetime]
    # The consent to log in with tokens; the password is empty then.
    grant_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_grant.id"))
    domain: Mapped[str] = mapped_column(String(253))
    wrapped_user: Mapped[str] = mapped_column(String(64))
    from_name: Mapped[str] = mapped_column(String(100), default="")
    reply_to: Mapped[str] = mapped_column(String(254), default="")
    ehlo_name: Mapped[str] = mapped_column(String(253), default="")  # empty: EHLO with the portal's name
    envelope_sender: Mapped[str] = mapped_column(String(254), default="")  # empty: the sender
    headers: Mapped[list[list[str]]] = mapped_column(JSON, default=list)  # further ones, as [name, value]
    messages_per_connection: Mapped[int | None]  # None: the default of the tuning
    reply_seconds: Mapped[int | None]  # for the reply to a message; None: what is left of the deadline
    credential_warnings: Mapped[list[dict[str, Any]]] = mapped_column(
        JSON, default=list
    )  # warnings found when it was saved
    state: Mapped[VersionState] = mapped_column(enum_column(VersionState), default=VersionState.DRAFT)
    created_at: Mapped[datetime]
    # The owner's name, kept after the owner is gone; empty for versions that were saved before names were stored.
    saved_by: Mapped[str] = mapped_column(String(100), default="")
    # Saved through the API, or from such a draft: it never goes live before a person activates it on the page.
    waits_for_person: Mapped[bool] = mapped_column(default=False)
    live_since: Mapped[datetime | None]
    # Start of a failover: email goes through the platform's sender because this version's server fails. It stays live.
    failover_since: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("account_id", "number"),
        # The database rejects a second live version.
        partial_index(text("state = 'live'"), "uq_smtp_settings_live", "account_id", unique=True),
    )

    @property
    def sender(self) -> str:
        """The mailbox in From and in the envelope."""
        return f"{self.wrapped_user}@{self.domain}"


class SettingsCheck(Base):
    """One check of a version: all stages up to a real New Sign-up email to the owner."""

    __tablename__ = "settings_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("smtp_settings.id"), index=True)
    recipient: Mapped[str] = mapped_column(String(254))
    recipient_name: Mapped[str] = mapped_column(String(100))
    state: Mapped[CheckState] = mapped_column(enum_column(CheckState), default=CheckState.WAITING)
    stages: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # stage results in their order
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    fix: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # a verified fix
    transcript: Mapped[str] = mapped_column(Text, default="")
    message_id: Mapped[int | None]  # the outbox row of the test email
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # of its present part: port detection, conversation, search for a fix
    ended_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (Index("ix_settings_check_state", "state"),)


class DomainProof(Base):
    """A domain that is an account's own: its record was found, or it was live before records were asked for."""

    __tablename__ = "domain_proof"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    domain: Mapped[str] = mapped_column(String(253))
    proved_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("account_id", "domain"),)


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
