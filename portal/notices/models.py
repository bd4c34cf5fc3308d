"""What is sent: an account's switches for its automated emails."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class NoticeSwitch(Base):
    """Whether an account sends one kind of notice. No row: it does."""

    __tablename__ = "notice_switch"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    enabled: Mapped[bool]
