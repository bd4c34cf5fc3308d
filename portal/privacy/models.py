"""The table of erasures."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, partial_index

# Queries repeat this condition literally, so that the planner recognises the index.
IS_RUNNING = text("done_at IS NULL")


class Erasure(Base):
    """The erasure of one affiliate, from the click to the last row. ``sealed_person`` is cleared at the end.

    Until then it holds name, mailbox and code, by which the rows of other tables are found.
    """

    __tablename__ = "erasure"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id"), unique=True)
    sealed_person: Mapped[bytes | None] = mapped_column(LargeBinary)
    erased_by: Mapped[str] = mapped_column(String(100))
    started_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    step: Mapped[int] = mapped_column(default=0)
    cursor: Mapped[int] = mapped_column(default=0)  # the last row that the present step has read
    blanked: Mapped[int] = mapped_column(default=0)  # rows so far
    __table_args__ = (partial_index(IS_RUNNING, "ix_erasure_running", "id"),)
