"""To whom: the people who signed up as affiliates."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class Affiliate(Base):
    """One person in one programme. ``code`` is in the public link, ``dashboard_key`` in the private one."""

    __tablename__ = "affiliate"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(String(100))
    mailbox: Mapped[str] = mapped_column(String(254))  # for envelopes: the domain in A-labels
    mailbox_key: Mapped[str] = mapped_column(String(254))  # case-folded: twice the same is one affiliate
    code: Mapped[str] = mapped_column(String(16), unique=True)
    dashboard_key: Mapped[str] = mapped_column(String(40), unique=True)
    consented_at: Mapped[datetime]
    created_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("account_id", "mailbox_key"),
        Index("ix_affiliate_list", "account_id", "id"),
    )
