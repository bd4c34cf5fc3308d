"""Tables of affiliates, their former codes, link tokens and opt-outs, suppressed mailboxes, and the sign-up rules of accounts."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from ..db import Base, enum_column, partial_index
from .consent import AgreementWay
from .search_text import search_text


class AffiliateState(StrEnum):
    """The state of an affiliate in the programme."""

    UNCONFIRMED = "unconfirmed"  # signed up; has not opened the link in the confirmation email
    PENDING = "pending"  # waits for the owner's approval
    ACTIVE = "active"
    DECLINED = "declined"
    SUSPENDED = "suspended"
    INVITED = "invited"  # by the owner; has not joined yet
    ERASED = "erased"  # a blank row that holds sums


class EmailPace(StrEnum):
    """How often an affiliate wants the emails about leads, purchases and commissions."""

    AT_ONCE = "at-once"
    DAILY = "daily"
    WEEKLY = "weekly"


class TokenPurpose(StrEnum):
    """What the holder of a token may do."""

    CONFIRM = "confirm"
    JOIN = "join"
    MAILBOX = "mailbox"  # confirm a new email address
    WITHDRAWN = "withdrawn"  # nothing any more: the new address was withdrawn
    FORMER = "former"  # nothing: an address of before, which an erasure has to know


class SuppressionReason(StrEnum):
    """Why a mailbox is suppressed."""

    UNSUBSCRIBED = "unsubscribed"  # from summaries and promotional emails; transactional ones are still sent
    BOUNCED = "bounced"
    COMPLAINED = "complained"  # called an email spam
    BY_OWNER = "by-owner"
    ERASED = "erased"  # the row holds a hash instead of the mailbox (erased.py)


def _default_search_text(context: Any) -> str:
    row = context.get_current_parameters()
    return search_text(row["name"], row["mailbox"], row["code"], row.get("external_id"))


def mailbox_digest(mailbox: str) -> str:
    """Return 16 hexadecimal digits that identify a mailbox within one account without containing it."""
    return hashlib.sha256(mailbox.casefold().encode("utf-8", "replace")).hexdigest()[:16]


def gmail_name(mailbox_key: str) -> str | None:
    """Return the name by which Gmail identifies a mailbox, for an address in the form for look-ups; None at other providers.

    Gmail ignores dots and what follows a plus sign (support.google.com/mail/answer/7436150): ``a.da+shop@googlemail.com``
    is ``ada``.
    """
    local, _, domain = mailbox_key.rpartition("@")
    if domain not in ("gmail.com", "googlemail.com"):
        return None
    return local.partition("+")[0].replace(".", "") or None


class Affiliate(Base):
    """One person in one programme. ``code`` is in the public link.

    ``sealed_page_keys`` holds two keys (see page_keys.py). That of the dashboard is in the private link. That of the
    preferences is in the unsubscribe links, which mail servers and forwarded emails disclose, so it opens nothing else.
    """

    __tablename__ = "affiliate"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(String(100))
    mailbox: Mapped[str] = mapped_column(String(254))  # as in the envelope: the domain in A-labels
    mailbox_key: Mapped[str] = mapped_column(String(254))  # case-folded, to find the affiliate by
    code: Mapped[str] = mapped_column(String(32), unique=True)
    sealed_page_keys: Mapped[bytes] = mapped_column(LargeBinary)
    dashboard_key_hash: Mapped[str] = mapped_column(String(40))
    preferences_key_hash: Mapped[str] = mapped_column(String(40))
    state: Mapped[AffiliateState] = mapped_column(enum_column(AffiliateState), default=AffiliateState.ACTIVE)
    state_since: Mapped[datetime | None]  # None: since the sign-up
    search_text: Mapped[str] = mapped_column(Text, default=_default_search_text)
    consented_at: Mapped[datetime | None]  # None: was invited and has not joined
    consent_way: Mapped[AgreementWay] = mapped_column(
        enum_column(AgreementWay), default=AgreementWay.UNKNOWN, server_default=""
    )
    consent_words: Mapped[str] = mapped_column(Text, default="", server_default="")
    consent_network: Mapped[str] = mapped_column(String(64), default="", server_default="")
    consent_source: Mapped[str] = mapped_column(String(200), default="", server_default="")  # of ELSEWHERE
    confirmed_at: Mapped[datetime | None]  # by the link in the confirmation email
    email_pace: Mapped[EmailPace] = mapped_column(enum_column(EmailPace, 8), default=EmailPace.AT_ONCE)
    confirmed_network: Mapped[str] = mapped_column(String(64), default="", server_default="")
    erasure_asked_at: Mapped[datetime | None]  # by the affiliate, on the dashboard
    import_id: Mapped[
        int | None
    ]  # of the CSV file that brought them; no foreign key, the row is in another room
    created_at: Mapped[datetime]
    external_id: Mapped[str | None] = mapped_column(String(100))  # the shop's own id; unique in the account
    notes: Mapped[str] = mapped_column(Text, default="")  # of the owner, for the owner
    website: Mapped[str] = mapped_column(String(300), default="")  # as they entered it; in no email
    language: Mapped[str] = mapped_column(
        String(8), default="", server_default=""
    )  # chosen; empty: the programme's
    gmail_name: Mapped[str | None] = mapped_column(String(64))  # of the Gmail mailbox; None elsewhere
    __table_args__ = (
        UniqueConstraint("account_id", "mailbox_key"),
        # The names are of the time when the keys themselves stood here: SQLite cannot rename a constraint.
        UniqueConstraint("dashboard_key_hash", name="uq_affiliate_dashboard_key"),
        UniqueConstraint("preferences_key_hash", name="uq_affiliate_preferences_key"),
        Index("ix_affiliate_list", "account_id", "id"),
        Index("ix_affiliate_state", "account_id", "state", "id"),
        Index("ix_affiliate_unconfirmed", "state", "created_at"),
        partial_index(text("gmail_name IS NOT NULL"), "ix_affiliate_gmail", "account_id", "gmail_name"),
        partial_index(text("import_id IS NOT NULL"), "ix_affiliate_import", "import_id", "id"),
        partial_index(
            text("erasure_asked_at IS NOT NULL"),
            "ix_affiliate_erasure_asked",
            "account_id",
            "erasure_asked_at",
        ),
        partial_index(
            text("external_id IS NOT NULL"),
            "ix_affiliate_external_id",
            "account_id",
            "external_id",
            unique=True,
        ),
    )

    @validates("mailbox_key")
    def _follow_mailbox(self, _name: str, mailbox_key: str) -> str:
        self.gmail_name = gmail_name(mailbox_key)
        return mailbox_key


class FormerCode(Base):
    """A code that an affiliate had before. Links with it go on counting, so no other affiliate may have it."""

    __tablename__ = "former_code"
    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id", ondelete="CASCADE"), index=True)
    replaced_at: Mapped[datetime]


class ActionToken(Base):
    """The token of a link in an email that does one thing for one affiliate. Only its hash is stored."""

    __tablename__ = "affiliate_link"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(enum_column(TokenPurpose))
    message_id: Mapped[int | None]  # in the outbox; no foreign key, see EventMail
    mailbox: Mapped[str | None] = mapped_column(String(254))  # the new address, or the former one of FORMER
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class OptOut(Base):
    """One kind of email that an affiliate does not want."""

    __tablename__ = "opt_out"
    affiliate_id: Mapped[int] = mapped_column(ForeignKey("affiliate.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime]


class Suppression(Base):
    """A mailbox that an account does not write to. The row outlives the affiliate, because the refusal still holds."""

    __tablename__ = "suppression"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    mailbox_key: Mapped[str] = mapped_column(String(254))
    reason: Mapped[SuppressionReason] = mapped_column(enum_column(SuppressionReason))
    note: Mapped[str] = mapped_column(String(200), default="")
    # The message whose report alone made it a bounce; NULL as well once a server has refused the mailbox itself.
    message_id: Mapped[int | None]
    was_unsubscribed: Mapped[bool] = mapped_column(default=False)  # before, or while, it was a bounce
    created_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("account_id", "mailbox_key"),
        Index("ix_suppression_list", "account_id", "id"),
    )


class SuppressionLift(Base):
    """A suppression that the owner ended, with the reason. Reports about earlier messages do not bring it back."""

    __tablename__ = "suppression_lift"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    mailbox_key: Mapped[str] = mapped_column(String(254))
    reason: Mapped[SuppressionReason] = mapped_column(enum_column(SuppressionReason))  # of the suppression
    note: Mapped[str] = mapped_column(String(200), default="")  # of the suppression
    why: Mapped[str] = mapped_column(String(200))
    lifted_by: Mapped[str] = mapped_column(String(100))
    lifted_at: Mapped[datetime]
    __table_args__ = (Index("ix_suppression_lift_mailbox", "account_id", "mailbox_key", "lifted_at"),)


class SignUpRules(Base):
    """How an account admits affiliates. Without a row: active as soon as the mailbox is confirmed."""

    __tablename__ = "sign_up_rules"
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    auto_approve: Mapped[bool] = mapped_column(default=True)
    confirm: Mapped[bool] = mapped_column(default=True)
