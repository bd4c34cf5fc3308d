"""Table of the grants: what an access token is fetched with, and the present token."""

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
    SERVICE_ACCOUNT = "service-account"  # a signed JWT, RFC 7523; Google's domain-wide delegation


class OAuthGrant(Base):
    """One consent to log in as one mailbox. It is not edited: connecting again makes another one."""

    __tablename__ = "oauth_grant"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    flow: Mapped[Flow] = mapped_column(enum_column(Flow, 20))
    issuer: Mapped[str] = mapped_column(String(20))  # id of ``issuers``
    tenant: Mapped[str] = mapped_column(String(253), default="")  # Microsoft's directory
    client_id: Mapped[str] = mapped_column(String(254))  # of a service account: its email address
    mailbox: Mapped[str] = mapped_column(String(254))
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)  # client secret or private key
    secret_expires_on: Mapped[date | None]  # as the owner entered it
    sealed_access: Mapped[bytes | None] = mapped_column(LargeBinary)  # the present access token
    access_expires_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(
        default=0
    )  # counts the tokens; a late answer does not replace a newer one
    lease_until: Mapped[datetime | None]  # one worker fetches a token, or all of them wait after a failure
    trouble: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # reason and evidence of the last failure
    made_by: Mapped[str] = mapped_column(String(100))  # name of the owner who connected it
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # disconnected: its secrets are deleted
