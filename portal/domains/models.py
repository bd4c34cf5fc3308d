"""Tables of the domain checks: the newest result per version, and changes for the worse."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column


class DomainCheckState(StrEnum):
    """State of a domain check."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class DomainStatus(StrEnum):
    """Whether email from a domain will arrive. The values are stored."""

    ARRIVES = "arrives"
    AT_RISK = "at-risk"
    REFUSED = "refused"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Order of the statuses: higher is better, and ``unknown`` is lowest."""
        return {"arrives": 3, "at-risk": 2, "refused": 1, "unknown": 0}[self.value]


class DomainCheck(Base):
    """Domain check of one version of the settings. ``findings`` are those of the last finished check."""

    __tablename__ = "domain_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("smtp_settings.id"))
    domain: Mapped[str] = mapped_column(String(253))
    selectors: Mapped[list[str]] = mapped_column(JSON, default=list)  # of DKIM, entered by the owner
    state: Mapped[DomainCheckState] = mapped_column(
        enum_column(DomainCheckState), default=DomainCheckState.WAITING
    )
    status: Mapped[DomainStatus | None] = mapped_column(enum_column(DomainStatus))
    last_known_status: Mapped[DomainStatus | None] = mapped_column(
        enum_column(DomainStatus)
    )  # of the last check whose queries were answered
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    requested_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("version_id"), Index("ix_domain_check_state", "state"))


class DomainChange(Base):
    """A status that became worse. ``ended_at`` is None until it is as good as before."""

    __tablename__ = "domain_change"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    domain: Mapped[str] = mapped_column(String(253))
    previous_status: Mapped[DomainStatus] = mapped_column(enum_column(DomainStatus))
    new_status: Mapped[DomainStatus] = mapped_column(enum_column(DomainStatus))
    reason: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime]
    ended_at: Mapped[datetime | None]
