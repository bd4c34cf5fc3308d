"""The table of counted visits."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class VisitCount(Base):
    """The visits through one affiliate's link on one day, in the account's time zone. It describes no visitor."""

    __tablename__ = "visit_count"
    affiliate_id: Mapped[int] = mapped_column(
        ForeignKey("affiliate.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    visits: Mapped[int] = mapped_column(default=0)
    visitors: Mapped[int] = mapped_column(default=0)  # each once a day
    others: Mapped[int] = mapped_column(default=0)  # bots, prefetches and embedded requests
