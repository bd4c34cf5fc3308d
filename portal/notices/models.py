"""Tables of notices: which are enabled, texts in versions and drafts, branding, logos and further mailboxes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base


class NoticeSwitch(Base):
    """Whether an account sends one kind of notice. Without a row, it does."""

    __tablename__ = "notice_switch"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    enabled: Mapped[bool]


class TextVersion(Base):
    """A version of an account's text. Versions never change: each save inserts one, and the newest is sent.

    A version with ``shipped`` refers to the default text, also after an upgrade has changed it; its own text is empty.
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
    markdown: Mapped[str | None] = mapped_column(Text)  # the source that ``html`` was made from
    owner_id: Mapped[int]  # no foreign key, so that it remains when the owner is deleted
    owner_name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("account_id", "kind", "number"),)


class NoticeLogo(Base):
    """A logo that emails refer to. Replacing it keeps the row, because emails sent earlier still load it."""

    __tablename__ = "notice_logo"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    key: Mapped[str] = mapped_column(String(40), unique=True)  # random, in the address of the logo
    media_type: Mapped[str] = mapped_column(String(20))
    width: Mapped[int]
    height: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class NoticeBranding(Base):
    """The branding of an account's emails. Without a row, the default."""

    __tablename__ = "notice_branding"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    accent: Mapped[str] = mapped_column(String(7))
    address: Mapped[str] = mapped_column(String(500))
    # The owner sends invitations and summaries without an address. Also set for accounts older than the question.
    without_address: Mapped[bool] = mapped_column(default=False)
    footer: Mapped[str] = mapped_column(String(1000))
    logo_id: Mapped[int | None] = mapped_column(ForeignKey("notice_logo.id"))
    updated_at: Mapped[datetime]


class NoticeMailbox(Base):
    """A further mailbox that gets the notices to the owner, once its reader has confirmed it by a link."""

    __tablename__ = "notice_mailbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    mailbox: Mapped[str] = mapped_column(String(254))
    mailbox_key: Mapped[str] = mapped_column(String(254))  # case-folded, to find duplicates
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    token_hash: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)  # of the link
    __table_args__ = (UniqueConstraint("account_id", "mailbox_key"),)


class NoticeDraft(Base):
    """The unsaved text of a person's editor, stored for the preview and the test email. It is never sent to recipients."""

    __tablename__ = "notice_draft"
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    markdown: Mapped[str | None] = mapped_column(Text)
    based_on: Mapped[int]  # the number of the version that is edited
    updated_at: Mapped[datetime]
