"""The accounts that a person belongs to, and which of them a session shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select, update

from ...db import db
from ..models import Account, Membership, Owner, OwnerSession

if TYPE_CHECKING:
    from ..sessions import LoggedIn
    from .rights import Role


@dataclass(frozen=True)
class Programme:
    """An account that a person belongs to."""

    id: int
    name: str
    role: Role


def first_account() -> ColumnElement[Any]:
    """Return the account that a new session of ``Owner`` shows, as a column: the last one shown, else the oldest."""
    mine = select(Membership.account_id).where(Membership.owner_id == Owner.id).correlate(Owner)
    last_shown = mine.where(Membership.account_id == Owner.account_id).scalar_subquery()
    oldest = mine.order_by(Membership.joined_at, Membership.account_id).limit(1).scalar_subquery()
    return func.coalesce(last_shown, oldest)


def account_of(owner_id: int) -> int | None:
    """Return the account that a new session of a person shows; None if the person belongs to none.

    ``Owner.account_id`` is the last one shown, which the person may have left.
    """
    return db.session.scalar(select(first_account()).where(Owner.id == owner_id))


def programmes_of(owner_id: int) -> list[Programme]:
    """Return the accounts that a person belongs to, by name."""
    query = select(Account.id, Account.name, Membership.role).join(
        Membership, Membership.account_id == Account.id
    )
    rows = db.session.execute(query.where(Membership.owner_id == owner_id).order_by(Account.name, Account.id))
    return [Programme(*row) for row in rows]


def switch(user: LoggedIn, account_id: int) -> bool:
    """Let this session and the next log-in show another account of the person; return whether it is one. Commits."""
    if db.session.get(Membership, (user.id, account_id)) is None:
        db.session.rollback()
        return False
    show(user.id, user.session_id, account_id)
    db.session.commit()
    return True


def show(owner_id: int, session_id: int, account_id: int) -> None:
    """Let a session and the next log-in show an account, and forget what was typed for the one before. The caller commits."""
    mine = (OwnerSession.id == session_id, OwnerSession.owner_id == owner_id)
    db.session.execute(update(OwnerSession).where(*mine).values(account_id=account_id, kept_form=""))
    db.session.execute(update(Owner).where(Owner.id == owner_id).values(account_id=account_id))
