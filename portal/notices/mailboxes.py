"""Further mailboxes that get the notices to the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError

from ..accounts.models import Account, Owner
from ..db import db
from ..db.prepared import PreparedStatement
from ..smtp.mailbox import MailboxError, parse_mailbox
from .models import NoticeMailbox

if TYPE_CHECKING:
    from datetime import datetime

MAILBOX_LIMIT = 5
_ROW = NoticeMailbox.__table__.c
_FURTHER = PreparedStatement(
    select(_ROW.mailbox_key, _ROW.mailbox).where(_ROW.account_id == bindparam("account_id")).order_by(_ROW.id)
)


class MailboxRefused(Exception):
    """The mailbox is not added. The message is one plain sentence."""


def further_mailboxes(account_id: int) -> list[NoticeMailbox]:
    """Return the further mailboxes of an account, in the order they came."""
    query = select(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
    return list(db.session.scalars(query.order_by(NoticeMailbox.id)))


def further_addresses(account_id: int) -> list[tuple[str, str]]:
    """Return them case-folded and as they are written to, for whoever only sends."""
    return [(key, mailbox) for key, mailbox in _FURTHER.all(account_id=account_id)]


def add_mailbox(account: Account, typed: str, *, now: datetime) -> NoticeMailbox:
    """Add a mailbox. Commits. Raises MailboxRefused."""
    try:
        mailbox = str(parse_mailbox(typed))
    except MailboxError as error:
        raise MailboxRefused(str(error)) from None
    db.session.get(Account, account.id, with_for_update=True)  # two at once would both find room
    key = mailbox.casefold()
    if _is_known(account.id, key):
        raise MailboxRefused(f"{mailbox} gets these emails already.")
    if (db.session.scalar(_count(account.id)) or 0) >= MAILBOX_LIMIT:
        raise MailboxRefused(f"There are {MAILBOX_LIMIT} further mailboxes already. Remove one first.")
    row = NoticeMailbox(account_id=account.id, mailbox=mailbox, mailbox_key=key, created_at=now)
    try:
        with db.session.begin_nested():
            db.session.add(row)
    except IntegrityError:
        raise MailboxRefused(f"{mailbox} gets these emails already.") from None
    db.session.commit()
    return row


def remove_mailbox(account_id: int, ident: int) -> bool:
    """Remove a mailbox of this account; return whether there was one. Commits."""
    statement = delete(NoticeMailbox).where(NoticeMailbox.id == ident, NoticeMailbox.account_id == account_id)
    gone = db.session.execute(statement.returning(NoticeMailbox.id)).scalar_one_or_none() is not None
    db.session.commit()
    return gone


def _is_known(account_id: int, key: str) -> bool:
    of_owner = select(Owner.id).where(Owner.account_id == account_id, Owner.mailbox_key == key)
    further = select(NoticeMailbox.id).where(
        NoticeMailbox.account_id == account_id, NoticeMailbox.mailbox_key == key
    )
    return any(db.session.scalar(query.limit(1)) is not None for query in (of_owner, further))


def _count(account_id: int) -> Select[int]:
    return select(func.count()).select_from(NoticeMailbox).where(NoticeMailbox.account_id == account_id)
