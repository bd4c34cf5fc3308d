"""What was found about sending domains, and when it became worse."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column


class LookState(StrEnum):
    """Where the newest look at a domain stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class Verdict(StrEnum):
    """Whether mail will arrive. Better ones have a higher rank; *unknown* has none."""

    ARRIVES = "arrives"
    AT_RISK = "at-risk"
    REFUSED = "refused"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        return {"arrives": 3, "at-risk": 2, "refused": 1, "unknown": 0}[self.value]


class DomainCheck(Base):
    """The domain of one version of the settings. ``findings`` are those of the last look that ended."""

    __tablename__ = "domain_check"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("smtp_settings.id"))
    domain: Mapped[str] = mapped_column(String(253))
    selectors: Mapped[list[str]] = mapped_column(JSON, default=list)  # of DKIM, as the owner typed them
    state: Mapped[LookState] = mapped_column(enum_column(LookState), default=LookState.WAITING)
    status: Mapped[Verdict | None] = mapped_column(enum_column(Verdict))
    last_known_status: Mapped[Verdict | None] = mapped_column(
        enum_column(Verdict)
    )  # of the last look that could look
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    requested_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("version_id"), Index("ix_domain_check_state", "state"))


class DomainChange(Base):
    """A verdict that became worse, and when it was good again; while ``ended_at`` is open it still is worse."""

    __tablename__ = "domain_change"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    domain: Mapped[str] = mapped_column(String(253))
    previous_status: Mapped[Verdict] = mapped_column(enum_column(Verdict))
    new_status: Mapped[Verdict] = mapped_column(enum_column(Verdict))
    reason: Mapped[str] = mapped_column(String(500))
    since: Mapped[datetime]
    ended_at: Mapped[datetime | None]
