"""The contact of an account: the person who gets replies and the emails to the owner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ...db import db
from ...db.prepared import PreparedStatement, bind_ids, ids_in
from ...db.transaction import current_dialect, flush_session
from ..models import Account, Membership, Owner

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Select


@dataclass(frozen=True)
class Contact:
    """The contact of an account, as a person to write to."""

    account_id: int
    name: str
    mailbox: str


def find_contact(account_id: int) -> Contact | None:
    """Return the contact of an account."""
    query = select(Owner.name, Owner.mailbox).join(Account, Account.contact_id == Owner.id)
    row = db.session.execute(query.where(Account.id == account_id)).one_or_none()
    return Contact(account_id, *row) if row else None


def contact_mailbox(account_id: int) -> str | None:
    """Return the mailbox of an account's contact."""
    return contact_mailboxes([account_id]).get(account_id)


def contact_mailboxes(account_ids: Collection[int]) -> dict[int, str]:
    """Return the mailbox of the contact of each account, by account id."""
    if not account_ids:
        return {}
    flush_session()
    dialect = current_dialect()
    return dict(_mailboxes_of(dialect).all(ids=bind_ids(account_ids, dialect)))


@cache
def _mailboxes_of(dialect: str) -> PreparedStatement:
    query = select(Account.id, Owner.mailbox).join_from(Account, Owner, Owner.id == Account.contact_id)
    return PreparedStatement(query.where(ids_in(Account.id, "ids", dialect)))


def member_ids(account_id: int) -> Select[Any]:
    """Return a query for the ids of an account's people."""
    return select(Membership.owner_id).where(Membership.account_id == account_id)
