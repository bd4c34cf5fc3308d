"""Operators: the owners who run this portal and may see its outbox, and what they name accounts by."""

from __future__ import annotations

from sqlalchemy import select

from ..db import db
from .identifiers import mailbox_key
from .models import Account, Owner


def set_operator(mailbox: str, operator: bool) -> Owner | None:
    """Make an owner an operator, or no longer; None for an unknown mailbox. Commits."""
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == mailbox_key(mailbox)))
    if owner is not None:
        owner.is_operator = operator
    db.session.commit()
    return owner


def find_account_id(slug: str) -> int | None:
    """Return the id of the account with this short name."""
    return db.session.scalar(select(Account.id).where(Account.slug == slug))


def account_slugs() -> dict[int, str]:
    """Return the short name of every account."""
    return dict(db.session.execute(select(Account.id, Account.slug)).all())
