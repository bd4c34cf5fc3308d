"""Saves and removes the mailbox of an account that is read for bounces."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from ... import rate_limit
from ...db import db, insert
from ...jobs import notify
from ...settings.credentials import prepare_password
from . import credentials
from .models import BounceMailbox
from .reading import JOB

if TYPE_CHECKING:
    from datetime import datetime

READ_LIMIT = rate_limit.RateLimit("read-mailbox", 20, timedelta(hours=1))


@dataclass(frozen=True)
class MailboxInput:
    """What an owner entered, with canonical values. An empty password means the saved one."""

    host: str
    port: int
    security: str
    username: str
    folder: str
    password: str = field(repr=False)


class PasswordNeeded(Exception):
    """No password is saved for this server and username."""


def find(account_id: int) -> BounceMailbox | None:
    """Return the mailbox of an account."""
    return db.session.scalar(select(BounceMailbox).where(BounceMailbox.account_id == account_id))


def save(account_id: int, values: MailboxInput, saved_by: str, *, now: datetime) -> None:
    """Save the mailbox and read it at once. Commits. Raises PasswordNeeded.

    The saved password is kept only for the same server, port, security and username. Another server or folder begins
    anew: its UIDs are others.
    """
    mailbox = db.session.scalar(
        select(BounceMailbox).where(BounceMailbox.account_id == account_id).with_for_update()
    )
    wished = BounceMailbox(
        account_id=account_id,
        host=values.host,
        port=values.port,
        security=values.security,
        username=values.username,
        folder=values.folder,
        saved_by=saved_by,
        saved_at=now,
        next_read_at=now,
    )
    is_same = mailbox is not None and credentials.binding(mailbox) == credentials.binding(wished)
    if values.password:
        credentials.seal(wished, prepare_password(values.password))
    elif mailbox is not None and is_same:
        wished.sealed_password = mailbox.sealed_password
    else:
        db.session.rollback()
        raise PasswordNeeded
    columns = (
        "host",
        "port",
        "security",
        "username",
        "folder",
        "sealed_password",
        "saved_by",
        "saved_at",
        "next_read_at",
    )
    changed = {name: getattr(wished, name) for name in columns}
    changed |= {"problem": "", "failures": 0}
    if not is_same or (mailbox is not None and mailbox.folder != values.folder):
        changed |= {"uid_validity": None, "last_uid": None, "last_read_at": None, "last_tried_at": None}
    fresh = {"account_id": account_id, "generation": 0, "mails": 0, "reports": 0}
    statement = insert(BounceMailbox).values(fresh | changed)
    statement = statement.on_conflict_do_update(
        index_elements=["account_id"], set_=changed | {"generation": BounceMailbox.generation + 1}
    ).returning(BounceMailbox.id)
    mailbox_id = db.session.scalar(statement)
    notify.push_after_commit(JOB, mailbox_id)
    db.session.commit()


def read_now(account_id: int, *, now: datetime) -> bool:
    """Let the mailbox be read at once; return False if that was asked for too often. Commits."""
    mailbox = find(account_id)
    if mailbox is None:
        return True
    if not rate_limit.consume(READ_LIMIT, account_id, now=now):
        db.session.rollback()
        return False
    db.session.execute(
        update(BounceMailbox)
        .where(BounceMailbox.id == mailbox.id, BounceMailbox.next_read_at > now)
        .values(next_read_at=now)
        .execution_options(synchronize_session=False)
    )
    notify.push_after_commit(JOB, mailbox.id)
    db.session.commit()
    return True


def remove(account_id: int) -> bool:
    """Delete the mailbox with its password; return whether there was one. Commits."""
    removed = db.session.execute(delete(BounceMailbox).where(BounceMailbox.account_id == account_id))
    db.session.commit()
    return removed.rowcount > 0  # type: ignore[attr-defined,no-any-return]
