"""Saves and removes the mailbox of an account that is read for bounces."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from ... import audit, rate_limit
from ...db import db, insert
from ...jobs import notify
from ...oauth import grants, tokens
from ...oauth.models import Purpose
from ...security_log import SecurityEvent, record
from ...settings.credentials import prepare_password
from . import credentials, trouble
from .models import BounceMailbox
from .reading import JOB

if TYPE_CHECKING:
    from datetime import datetime

    from ...oauth.models import OAuthGrant

READ_LIMIT = rate_limit.RateLimit("read-mailbox", 20, timedelta(hours=1))
_SAVED = (
    "host",
    "port",
    "security",
    "username",
    "folder",
    "sealed_password",
    "grant_id",
    "saved_by",
    "saved_at",
    "next_read_at",
)

_RECORDED = ("host", "port", "security", "username", "folder")  # in the audit trail


@dataclass(frozen=True)
class MailboxInput:
    """What an owner entered, with canonical values. An empty password means the saved one."""

    host: str
    port: int
    security: str
    username: str
    folder: str
    password: str = field(default="", repr=False)


class PasswordNeeded(Exception):
    """No password is saved for this server and username."""


def find(account_id: int) -> BounceMailbox | None:
    """Return the mailbox of an account."""
    return db.session.scalar(select(BounceMailbox).where(BounceMailbox.account_id == account_id))


def grant_of(mailbox: BounceMailbox) -> OAuthGrant | None:
    """Return the grant by which a mailbox was connected, None if it has a password."""
    if mailbox.grant_id is None:
        return None
    return grants.find(mailbox.account_id, mailbox.grant_id, Purpose.READ)


def save(account_id: int, values: MailboxInput, saved_by: str, *, now: datetime) -> None:
    """Save the mailbox and read it at once. Commits. Raises PasswordNeeded.

    The saved password is kept only for the same server, port, security and username.
    """
    mailbox = _locked(account_id)
    wanted = _row(account_id, values, saved_by, now)
    if values.password:
        credentials.seal(wanted, prepare_password(values.password))
    elif mailbox is not None and mailbox.sealed_password and _is_same_login(mailbox, wanted):
        wanted.sealed_password = mailbox.sealed_password
    else:
        db.session.rollback()
        raise PasswordNeeded
    _store(mailbox, wanted, now)


def save_connected(grant: OAuthGrant, values: MailboxInput, saved_by: str, *, now: datetime) -> None:
    """Save the mailbox of a grant that is not in the session yet, and read it at once. Commits.

    The folder is kept if the same mailbox was read before. The grant of the mailbox before is ended.
    """
    mailbox = _locked(grant.account_id)
    grants.add(grant, saved_by, now=now)
    wanted = _row(grant.account_id, values, saved_by, now)
    wanted.sealed_password, wanted.grant_id = b"", grant.id
    if mailbox is not None and _is_same_login(mailbox, wanted):
        wanted.folder = mailbox.folder
    _store(mailbox, wanted, now)


def save_folder(account_id: int, folder: str, *, now: datetime) -> bool:
    """Read another folder of the mailbox from now on; return whether there is a mailbox. Commits."""
    mailbox = _locked(account_id)
    if mailbox is None:
        return False
    values = MailboxInput(mailbox.host, mailbox.port, mailbox.security, mailbox.username, folder)
    wanted = _row(account_id, values, mailbox.saved_by, now)
    wanted.sealed_password, wanted.grant_id = mailbox.sealed_password, mailbox.grant_id
    _store(mailbox, wanted, now)
    return True


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
    grant_id = mailbox.grant_id
    db.session.commit()
    if grant_id is not None:
        tokens.discard(grant_id)  # what was granted may have changed
    return True


def remove(account_id: int, *, now: datetime) -> bool:
    """Delete the mailbox with its password, and end its grant; return whether there was one. Commits."""
    mailbox = _locked(account_id)
    if mailbox is None:
        db.session.rollback()
        return False
    trouble.report_removal(mailbox, now=now)
    before = {name: getattr(mailbox, name) for name in _RECORDED}
    audit.record(audit.Activity.BOUNCE_MAILBOX_REMOVED, account_id, before=before)
    db.session.delete(mailbox)
    db.session.flush()
    _end_unused_and_commit(account_id, now)
    record(SecurityEvent.BOUNCE_MAILBOX_REMOVED, account=account_id)
    return True


def _locked(account_id: int) -> BounceMailbox | None:
    query = select(BounceMailbox).where(BounceMailbox.account_id == account_id)
    return db.session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _row(account_id: int, values: MailboxInput, saved_by: str, now: datetime) -> BounceMailbox:
    """Return the mailbox as it is to be stored; it does not enter the session."""
    return BounceMailbox(
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


def _is_same_login(one: BounceMailbox, other: BounceMailbox) -> bool:
    return credentials.binding(one) == credentials.binding(other)


def _store(mailbox: BounceMailbox | None, wanted: BounceMailbox, now: datetime) -> None:
    """Write the mailbox, and end the grant of the one before. Commits.

    Another server or folder begins anew: its UIDs are others.
    """
    changed = {name: getattr(wanted, name) for name in _SAVED}
    changed |= {"problem": "", "failures": 0}
    if mailbox is None or not _is_same_login(mailbox, wanted) or mailbox.folder != wanted.folder:
        changed |= dict.fromkeys(("uid_validity", "last_uid", "failing_uid", "last_read_at", "last_tried_at"))
        changed["uid_failures"] = 0
    fresh = {"account_id": wanted.account_id, "generation": 0, "mails": 0, "reports": 0}
    statement = insert(BounceMailbox).values(fresh | changed)
    statement = statement.on_conflict_do_update(
        index_elements=["account_id"], set_=changed | {"generation": BounceMailbox.generation + 1}
    ).returning(BounceMailbox.id)
    before = {} if mailbox is None else {name: getattr(mailbox, name) for name in _RECORDED}
    after = {name: getattr(wanted, name) for name in _RECORDED}
    if mailbox is None or mailbox.sealed_password != wanted.sealed_password:
        after["password"] = "changed" if wanted.sealed_password else "removed"
    audit.record(audit.Activity.BOUNCE_MAILBOX_SAVED, wanted.account_id, before=before, after=after)
    notify.push_after_commit(JOB, db.session.scalar(statement))
    account_id = wanted.account_id
    _end_unused_and_commit(account_id, now)
    record(SecurityEvent.BOUNCE_MAILBOX_SAVED, account=account_id)


def _end_unused_and_commit(account_id: int, now: datetime) -> None:
    """End the grants that no mailbox needs any more, and commit.

    Google's consent is revoked there, too, unless another grant depends on it.
    """
    used = select(BounceMailbox.grant_id).where(
        BounceMailbox.account_id == account_id, BounceMailbox.grant_id.is_not(None)
    )
    former = grants.unused(account_id, Purpose.READ, used)
    revoked = [token for grant in former if (token := grants.token_to_revoke(grant))]
    for grant in former:
        grants.end(grant, now=now)
    db.session.commit()
    for token in revoked:
        grants.revoke(token)
