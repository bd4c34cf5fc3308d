"""Tables of second factors, and of log-ins that wait for one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from ...db import Base, enum_column


class ChallengePurpose(StrEnum):
    """What a challenge is for. The values are stored."""

    LOG_IN = "log-in"  # the password was right; a second factor completes it
    ADD_PASSKEY = "passkey-add"
    USE_PASSKEY = "passkey-use"  # a log-in; no person is known yet


class Totp(Base):
    """The authenticator app of a person. ``last_step`` is the time step of the last code that counted."""

    __tablename__ = "totp"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), unique=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int]
    created_at: Mapped[datetime]


class RecoveryCode(Base):
    """A code that works once in place of another factor. Only its hash is stored."""

    __tablename__ = "recovery_code"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Passkey(Base):
    """A passkey of a person. ``handle`` names the person to the authenticator, the same in all of the person's passkeys."""

    __tablename__ = "passkey"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owner.id"), index=True)
    credential_id: Mapped[str] = mapped_column(String(1400), unique=True)  # in base64url
    public_key: Mapped[bytes] = mapped_column(LargeBinary)  # COSE
    sign_count: Mapped[int]  # 0 where the authenticator does not count, as synchronised ones
    handle: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[str] = mapped_column(String(60))
    is_backed_up: Mapped[bool]  # copied to the person's other devices
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class LoginChallenge(Base):
    """What is asked of a person for some minutes, once. Its token is in the session cookie of the browser."""

    __tablename__ = "login_challenge"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"), index=True)
    purpose: Mapped[ChallengePurpose] = mapped_column(enum_column(ChallengePurpose))
    challenge: Mapped[str] = mapped_column(String(200), default="")  # what a passkey signs, in base64url
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(index=True)
