"""Tables of accounts (one for each programme), owners, sessions, password resets, and registrations that are not complete."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..db import Base


class Account(Base):
    """An affiliate programme, the tenant that all other data belongs to. ``standing`` derives its state."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(60), unique=True)  # in /join/<slug>
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")  # a name of the tz database
    approved_at: Mapped[
        datetime | None
    ]  # empty: registered by a visitor, and limited until an operator approves
    is_waiting: Mapped[bool] = mapped_column(
        default=False
    )  # sends nothing before an operator has approved it
    suspended_at: Mapped[datetime | None]
    suspension_reason: Mapped[str] = mapped_column(String(300), default="")  # for the owners to read


class Owner(Base):
    """A person who logs in and manages one account."""

    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    mailbox: Mapped[str] = mapped_column(String(254))  # for envelopes: the domain in A-labels
    mailbox_key: Mapped[str] = mapped_column(String(254), unique=True)  # case-folded, for look-ups
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    confirmed_at: Mapped[
        datetime | None
    ]  # when the owner proved to read the mailbox, or an operator vouched for it
    is_operator: Mapped[bool] = mapped_column(default=False)  # runs this portal and may see its outbox
    account: Mapped[Account] = relationship(lazy="joined")


class OwnerSession(Base):
    """One log-in on one device. Deleting or revoking the row ends it at once."""

    __tablename__ = "owner_session"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    device: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    owner: Mapped[Owner] = relationship(lazy="joined")


class PasswordReset(Base):
    """A requested password reset. Only the hash of its token is stored, and the link works once."""

    __tablename__ = "password_reset"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_password_reset_created_at", "created_at"),)


class PendingRegistration(Base):
    """A registration whose mailbox is not confirmed yet. The confirmation creates the account."""

    __tablename__ = "pending_registration"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # of the link in the email
    browser_hash: Mapped[str] = mapped_column(String(64))  # of a secret in the browser's session cookie
    programme: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(100))
    mailbox: Mapped[str] = mapped_column(String(254))
    mailbox_key: Mapped[str] = mapped_column(String(254), index=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(index=True)


class RegistrationInvitation(Base):
    """An operator's link with which one person registers once, whatever the registration mode."""

    __tablename__ = "registration_invitation"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    mailbox: Mapped[str] = mapped_column(String(254), default="")  # empty: the first owner enters one
    makes_operator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
