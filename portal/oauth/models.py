"""Tables of the grants, what an access token is fetched with, and of the attempts to get a consent."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Base, enum_column


class Flow(StrEnum):
    """How a token is obtained."""

    APP_ONLY = "app-only"  # client credentials, RFC 6749 section 4.4
    CONSENT = "consent"  # authorization code, RFC 6749 section 4.1, and refresh tokens
    SERVICE_ACCOUNT = "service-account"  # a signed JWT, RFC 7523; Google's domain-wide delegation


class Purpose(StrEnum):
    """What a grant logs in for. A grant for one purpose is never used for the other."""

    SEND = "send"  # over SMTP
    READ = "read"  # the mailbox for bounces, over IMAP


class OAuthGrant(Base):
    """One consent to log in as one mailbox. It is not edited: connecting again makes another one."""

    __tablename__ = "oauth_grant"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    purpose: Mapped[Purpose] = mapped_column(enum_column(Purpose, 10), default=Purpose.SEND)
    flow: Mapped[Flow] = mapped_column(enum_column(Flow, 20))
    issuer: Mapped[str] = mapped_column(String(20))  # id of ``issuers``
    tenant: Mapped[str] = mapped_column(String(253), default="")  # Microsoft's directory
    client_id: Mapped[str] = mapped_column(String(254))  # of a service account: its email address
    mailbox: Mapped[str] = mapped_column(String(254))
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # client secret or private key
    secret_expires_on: Mapped[date | None]  # as the owner entered it
    sealed_refresh: Mapped[bytes | None] = mapped_column(
        LargeBinary
    )  # of the flow consent; some issuers rotate it
    subject: Mapped[str] = mapped_column(String(254), default="")  # who consented, by the issuer's id
    sealed_access: Mapped[bytes | None] = mapped_column(LargeBinary)  # the present access token
    access_expires_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(
        default=0
    )  # counts the tokens; a late answer does not replace a newer one
    lease_until: Mapped[datetime | None]  # one worker fetches a token, or all of them wait after a failure
    # Reason and evidence of the last failure. SQL's NULL without one, because ``discard`` tests for it.
    trouble: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    made_by: Mapped[str] = mapped_column(String(100))  # name of the owner who connected it
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # disconnected: its secrets are deleted


class OAuthAttempt(Base):
    """One way to the issuer and back, begun by an owner. Used once, within ten minutes."""

    __tablename__ = "oauth_attempt"
    id: Mapped[int] = mapped_column(primary_key=True)
    state_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"))
    session_id: Mapped[int]  # of the log-in; it may have ended since
    way: Mapped[str] = mapped_column(String(20))  # id of ``issuers.WAYS``
    tenant: Mapped[str] = mapped_column(String(253))
    client_id: Mapped[str] = mapped_column(String(254))
    mailbox: Mapped[str] = mapped_column(String(254))
    is_shared: Mapped[bool]
    nonce: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes] = mapped_column(
        LargeBinary
    )  # the PKCE verifier, and the owner's client secret; empty once used
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
