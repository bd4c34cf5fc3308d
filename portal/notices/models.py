"""What is sent: an account's switches, its own texts as versions, the look of its mail, who else hears of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class NoticeSwitch(Base):
    """Whether an account sends one kind of notice. No row: it does."""

    __tablename__ = "notice_switch"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    enabled: Mapped[bool]


class TextVersion(Base):
    """One version of an account's text. It is never edited: saving makes the next one, and the last one is sent.

    One with ``shipped`` stands for the text that Signet ships, whatever that becomes; its own words are empty.
    """

    __tablename__ = "notice_text"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str] = mapped_column(String(40))
    number: Mapped[int]
    shipped: Mapped[bool]
    subject: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[int]  # no foreign key: who has left the team still wrote it
    owner_name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("account_id", "kind", "number"),)


class NoticeLogo(Base):
    """A picture that mail refers to. It stays when the next one comes: mail that was sent goes on showing it."""

    __tablename__ = "notice_logo"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    key: Mapped[str] = mapped_column(String(40), unique=True)  # in its address, which nobody can guess
    media_type: Mapped[str] = mapped_column(String(20))
    width: Mapped[int]
    height: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class NoticeBranding(Base):
    """The look of an account's mail. No row: as Signet ships it."""

    __tablename__ = "notice_branding"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    accent: Mapped[str] = mapped_column(String(7))
    address: Mapped[str] = mapped_column(String(500))
    footer: Mapped[str] = mapped_column(String(1000))
    logo_id: Mapped[int | None] = mapped_column(ForeignKey("notice_logo.id"))
    updated_at: Mapped[datetime]


class NoticeMailbox(Base):
    """One more mailbox that gets the notices to the owner."""

    __tablename__ = "notice_mailbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    mailbox: Mapped[str] = mapped_column(String(254))
    mailbox_key: Mapped[str] = mapped_column(String(254))  # case-folded: twice the same is one
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("account_id", "mailbox_key"),)


class NoticeDraft(Base):
    """What an owner is writing: kept for the preview and the test, so that no word of it is lost. Nothing sends it."""

    __tablename__ = "notice_draft"
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    based_on: Mapped[int]  # the number of the version it began with
    updated_at: Mapped[datetime]
