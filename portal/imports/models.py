"""The table of imports."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column


class ImportState(StrEnum):
    """The state of an import."""

    UPLOADED = "uploaded"  # the owner chooses columns and looks at the preview
    ADDING = "adding"  # a job adds the affiliates
    MAILING = "mailing"  # a job queues their emails, some at a time
    DONE = "done"
    STOPPED = "stopped"


class AffiliateImport(Base):
    """One uploaded file. ``text`` is deleted when its lines are added, when the import is stopped, or after a week.

    ``cursor`` is the number of the last line that was added, ``mail_cursor`` the last affiliate whose email was queued.
    """

    __tablename__ = "affiliate_import"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    key: Mapped[str] = mapped_column(String(64))  # of the form: sent twice it makes one import
    file_name: Mapped[str] = mapped_column(String(100))
    text: Mapped[str] = mapped_column(Text)
    choices: Mapped[dict[str, Any]] = mapped_column(JSON)  # Choices.as_dict
    state: Mapped[ImportState] = mapped_column(enum_column(ImportState), default=ImportState.UPLOADED)
    uploaded_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    lines: Mapped[int] = mapped_column(default=0)  # with an affiliate each, valid or not
    cursor: Mapped[int] = mapped_column(default=0)
    added: Mapped[int] = mapped_column(default=0)
    left_out: Mapped[int] = mapped_column(default=0)
    emails: Mapped[int] = mapped_column(default=0)  # to be queued
    queued: Mapped[int] = mapped_column(default=0)
    mail_cursor: Mapped[int] = mapped_column(default=0)
    next_mail_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("account_id", "key"),
        Index("ix_affiliate_import_list", "account_id", "id"),
        Index("ix_affiliate_import_state", "state", "next_mail_at"),
    )
