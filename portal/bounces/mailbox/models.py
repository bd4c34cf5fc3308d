"""Table of the mailboxes that are read for bounces."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from ...db import Base


class BounceMailbox(Base):
    """One mailbox of an account. Its password is sealed for this host, port and username, and for nothing else.

    A mailbox that was connected without a password has a grant, and an empty ``sealed_password``.

    Mails are read in the order of their UIDs: ``last_uid`` is the last one that was looked at under ``uid_validity``, both
    None before the first reading. ``next_read_at`` is also the lease of the worker that reads. ``problem`` is the code of the
    last failure, empty after a reading that succeeded. ``failing_uid`` is the mail that the server did not hand out in the
    last ``uid_failures`` readings.
    """

    __tablename__ = "bounce_mailbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), unique=True)
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int]
    security: Mapped[str] = mapped_column(String(20))  # a value of smtp.server.Security
    username: Mapped[str] = mapped_column(String(254))
    folder: Mapped[str] = mapped_column(String(120))
    sealed_password: Mapped[bytes] = mapped_column(LargeBinary)
    grant_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_grant.id"))
    generation: Mapped[int] = mapped_column(
        default=0
    )  # counts the savings; a reading of an earlier one stores nothing
    uid_validity: Mapped[int | None]
    last_uid: Mapped[int | None]
    problem: Mapped[str] = mapped_column(String(40), default="")
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    failing_uid: Mapped[int | None]
    uid_failures: Mapped[int] = mapped_column(default=0)
    next_read_at: Mapped[datetime] = mapped_column(index=True)
    last_read_at: Mapped[datetime | None]  # successfully
    last_tried_at: Mapped[datetime | None]
    last_report_at: Mapped[datetime | None]
    mails: Mapped[int] = mapped_column(default=0)  # whose headers were read
    reports: Mapped[int] = mapped_column(default=0)  # bounces and complaints among them
    skipped: Mapped[int] = mapped_column(default=0)  # that the server did not hand out
    saved_by: Mapped[str] = mapped_column(String(100))
    saved_at: Mapped[datetime]
