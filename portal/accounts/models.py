"""Tables of accounts (one for each programme), their people, sessions, resets, invitations and open registrations."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..db import Base, enum_column
from .team.rights import Role


class ProvedBy(StrEnum):
    """How a person proved who they are."""

    PASSWORD = "password"
    CODE = "code"  # and password
    PASSKEY = "passkey"


class LinkForm(StrEnum):
    """What an affiliate's link looks like."""

    SHORT = "short"  # /r/CODE of the portal, which redirects to the shop
    PARAMETER = "parameter"  # the shop's address with ?ref=CODE
    PATTERN = "pattern"  # the owner's own pattern


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
    # Emails in 24 hours that the platform's sender carries, as an operator set it. None: as many as it is approved for.
    platform_per_day: Mapped[int | None]
    # The programme settings. Here and not in a table of their own, because each email to an affiliate holds the link.
    shop_url: Mapped[str] = mapped_column(String(300), default="")  # ASCII; empty: the links lead nowhere yet
    link_form: Mapped[LinkForm] = mapped_column(enum_column(LinkForm), default=LinkForm.SHORT)
    link_pattern: Mapped[str] = mapped_column(
        String(300), default=""
    )  # with {code}; from / on: at the shop's host
    visit_days: Mapped[int] = mapped_column(default=30)  # how long a visit counts; 0: until it ends
    commission: Mapped[str] = mapped_column(String(200), default="")  # in words
    description: Mapped[str] = mapped_column(String(300), default="")  # of the programme, for link previews
    picture: Mapped[str] = mapped_column(
        String(50), default=""
    )  # for link previews: key and ending of a stored image
    terms_url: Mapped[str] = mapped_column(String(300), default="")
    privacy_url: Mapped[str] = mapped_column(String(300), default="")
    asks_website: Mapped[bool] = mapped_column(default=False)  # in the sign-up form
    sign_ups_per_network: Mapped[int] = mapped_column(default=20)  # within an hour
    # Sign-ups from different networks within ten minutes, beyond which the form slows down.
    sign_ups_at_once: Mapped[int] = mapped_column(default=20)
    sign_ups_slow_until: Mapped[datetime | None]
    script_seen_at: Mapped[datetime | None]  # when the shop's script last reported a visit
    language: Mapped[str] = mapped_column(String(8), default="en")  # a code of portal/languages.py
    # The version of the programme's own text of Confirm sign-up, which a sign-up would otherwise have to look up; 0: none.
    confirm_version: Mapped[int] = mapped_column(default=0)
    # The person who gets replies and the emails to the owner: always a member. No foreign key: owner refers to account.
    contact_id: Mapped[int | None]
    demands_factor: Mapped[bool] = mapped_column(
        default=False
    )  # people without a second factor see only its set-up


class Owner(Base):
    """A person who logs in. ``Membership`` states to which accounts the person belongs, and as what.

    ``account_id`` is the account that the next log-in shows, if the person still belongs to it; it gives no right.
    """

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
    language: Mapped[str] = mapped_column(
        String(8), default="en"
    )  # of the portal's pages, see portal/languages.py
    time_zone: Mapped[str] = mapped_column(
        String(64), default=""
    )  # of the portal's pages; empty: the account's
    has_shortcuts: Mapped[bool] = mapped_column(default=True)  # whether single keys open pages
    account: Mapped[Account] = relationship(lazy="joined")


class Membership(Base):
    """A person's role in one account."""

    __tablename__ = "membership"
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(enum_column(Role))
    joined_at: Mapped[datetime]
    invited_by: Mapped[str] = mapped_column(String(100), default="")  # a name; empty: registered the account


class TeamInvitation(Base):
    """An owner's invitation of one mailbox into an account. Only the hash of its token is stored.

    With ``is_handover``, it offers a member the inviter's ownership.
    """

    __tablename__ = "team_invitation"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    mailbox: Mapped[str] = mapped_column(String(254))
    mailbox_key: Mapped[str] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(enum_column(Role))
    is_handover: Mapped[bool] = mapped_column(default=False)
    is_emailed: Mapped[bool]  # false: the inviter was shown the link, so using it proves no mailbox
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    inviter_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    inviter_name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]


class OwnerSession(Base):
    """One log-in on one device, which shows one account. Deleting or revoking the row ends it at once.

    A proof of person replaces the token. ``former_hash`` is that of the token before, which requests on the way still have.
    """

    __tablename__ = "owner_session"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    device: Mapped[str] = mapped_column(String(200))
    network: Mapped[str] = mapped_column(String(64), default="")  # of the log-in; empty: before it was stored
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]  # at log-in and at each proof of person since
    proved_by: Mapped[ProvedBy | None] = mapped_column(enum_column(ProvedBy))
    former_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    kept_form: Mapped[str] = mapped_column(
        Text, default=""
    )  # what was typed before the last proof: proof/kept.py


class PasswordReset(Base):
    """A requested password reset. Only the hash of its token is stored, and the link works once."""

    __tablename__ = "password_reset"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_password_reset_created_at", "created_at"),)


class MailboxChange(Base):
    """A person's request for another mailbox, and what became of it. Only the hashes of its links' tokens are stored."""

    __tablename__ = "mailbox_change"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    new_mailbox: Mapped[str] = mapped_column(String(254))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # of the link to the new mailbox
    asked_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # when a later request, or an undoing, ended the link
    used_at: Mapped[datetime | None]
    former_mailbox: Mapped[str] = mapped_column(String(254), default="")
    undo_hash: Mapped[str | None] = mapped_column(
        String(64), unique=True
    )  # of the link to the former mailbox
    undone_at: Mapped[datetime | None]


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
