"""Which notices an account sends, and the recipients of the notices to its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError

from ..accounts.models import Account, Owner
from ..db import db
from ..db.transaction import current_connection
from ..smtp.mailbox import MailboxError, parse_mailbox
from ..state import get_state
from .models import NoticeMailbox, NoticeSwitch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flask import Flask

    from .catalogue import Notice

MAILBOX_LIMIT = 5  # further mailboxes for each account
_SWITCH, _OWNER, _MAILBOX = NoticeSwitch.__table__.c, Owner.__table__.c, NoticeMailbox.__table__.c
_ENABLED = select(_SWITCH.enabled).where(
    _SWITCH.account_id == bindparam("account_id"), _SWITCH.kind == bindparam("kind")
)
_OWNERS = (
    select(_OWNER.mailbox_key, _OWNER.mailbox, _OWNER.name)
    .where(_OWNER.account_id == bindparam("account_id"))
    .order_by(_OWNER.id)
)
_FURTHER = (
    select(_MAILBOX.mailbox_key, _MAILBOX.mailbox)
    .where(_MAILBOX.account_id == bindparam("account_id"))
    .order_by(_MAILBOX.id)
)


class NoticeLocked(Exception):
    """The notice cannot be switched off."""


class MailboxRefused(Exception):
    """The mailbox was not added. The message is one sentence for the owner."""


# -- enabled notices


def is_enabled(account_id: int, notice: Notice) -> bool:
    """Return whether the account sends this notice: yes, unless it was switched off."""
    if notice.locked:
        return True
    enabled = current_connection().scalar(_ENABLED, {"account_id": account_id, "kind": notice.kind})
    return enabled is not False


def set_enabled(account_id: int, notice: Notice, *, enabled: bool) -> None:
    """Switch a notice on or off. Commits. Raises NoticeLocked."""
    store_enabled(account_id, notice, enabled=enabled)
    db.session.commit()


def store_enabled(account_id: int, notice: Notice, *, enabled: bool) -> None:
    """Switch a notice on or off within the caller's transaction. Raises NoticeLocked."""
    if notice.locked:
        raise NoticeLocked(notice.kind)
    key = (account_id, notice.kind)
    row = db.session.get(NoticeSwitch, key) or _insert_switch(*key)
    row.enabled = enabled


def _insert_switch(account_id: int, kind: str) -> NoticeSwitch:
    """Insert the row on first use, or return the one that a simultaneous request inserted."""
    try:
        with db.session.begin_nested():
            db.session.add(NoticeSwitch(account_id=account_id, kind=kind, enabled=True))
    except IntegrityError:
        pass
    return db.session.get_one(NoticeSwitch, (account_id, kind))


# -- the recipients of notices to the owner


def recipients_of(account: Account) -> list[tuple[str, str]]:
    """Return mailbox and display name of each recipient of the account's notices to the owner, each once."""
    connection, this = current_connection(), {"account_id": account.id}
    recipients = {key: (mailbox, name) for key, mailbox, name in connection.execute(_OWNERS, this)}
    for key, mailbox in connection.execute(_FURTHER, this):
        recipients.setdefault(key, (mailbox, ""))
    return list(recipients.values())


def further_mailboxes(account_id: int) -> list[NoticeMailbox]:
    """Return the mailboxes added to those of the owners, in the order they were added."""
    query = select(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
    return list(db.session.scalars(query.order_by(NoticeMailbox.id)))


def add_mailbox(account: Account, entered: str, *, now: datetime) -> NoticeMailbox:
    """Add a further mailbox for the notices to the owner. Commits. Raises MailboxRefused."""
    try:
        mailbox = str(parse_mailbox(entered))
    except MailboxError as error:
        raise MailboxRefused(str(error)) from None
    # Lock the account, because concurrent requests could otherwise exceed the limit.
    db.session.get(Account, account.id, with_for_update=True)
    key = mailbox.casefold()
    if _is_known(account.id, key):
        raise MailboxRefused(f"{mailbox} gets these emails already.")
    if _count_mailboxes(account.id) >= MAILBOX_LIMIT:
        raise MailboxRefused(f"There are {MAILBOX_LIMIT} further mailboxes already. Remove one first.")
    row = NoticeMailbox(account_id=account.id, mailbox=mailbox, mailbox_key=key, created_at=now)
    try:
        with db.session.begin_nested():
            db.session.add(row)
    except IntegrityError:
        raise MailboxRefused(f"{mailbox} gets these emails already.") from None
    db.session.commit()
    return row


def remove_mailbox(account_id: int, mailbox_id: int) -> bool:
    """Remove a further mailbox of this account; return whether there was one. Commits."""
    statement = delete(NoticeMailbox).where(
        NoticeMailbox.id == mailbox_id, NoticeMailbox.account_id == account_id
    )
    removed = db.session.execute(statement.returning(NoticeMailbox.id)).scalar_one_or_none() is not None
    db.session.commit()
    return removed


def _is_known(account_id: int, key: str) -> bool:
    owners = select(Owner.id).where(Owner.account_id == account_id, Owner.mailbox_key == key)
    further = select(NoticeMailbox.id).where(
        NoticeMailbox.account_id == account_id, NoticeMailbox.mailbox_key == key
    )
    return any(db.session.scalar(query.limit(1)) is not None for query in (owners, further))


def _count_mailboxes(account_id: int) -> int:
    query = select(func.count()).select_from(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
    return db.session.scalar(query) or 0


# -- mailboxes that do not get all notices; a higher layer stores which


class _RestrictionsRegistry:
    """Holds the registered function, which maps mailboxes to reasons."""

    def __init__(self) -> None:
        self.restrictions: Callable[[Account], dict[str, str]] = lambda _account: {}


def register_restrictions(app: Flask, restrictions: Callable[[Account], dict[str, str]]) -> None:
    """Register the function that returns the restricted mailboxes of an account, each with the reason."""
    get_state(app).part(_RestrictionsRegistry).restrictions = restrictions


def restrictions_of(account: Account) -> dict[str, str]:
    """Return the mailboxes that do not get all notices to the owner, each with the reason."""
    return get_state().part(_RestrictionsRegistry).restrictions(account)
