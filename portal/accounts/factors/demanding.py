"""What owners decide about the second factors of others: whether everyone needs one, and the reset of a lost one.

A reset lets a person in by the password alone. So only people whose every account the acting person owns can be reset,
and no operators; for the others there is the operator's command. A link in an email never resets a factor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from ... import audit
from ...db import db
from ...security_log import SecurityEvent, record
from .. import sessions
from ..identifiers import mailbox_key
from ..models import Account, Membership, Owner, OwnerSession
from ..team import members
from ..team.members import NoMember, NotAllowed
from ..team.programmes import account_of
from ..team.rights import Right, roles_with
from . import emails
from .changing import delete_all
from .state import has_factor

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import LoggedIn


class NoFactor(Exception):
    """The person has no second factor."""


class BelongsElsewhere(Exception):
    """The person also belongs to accounts that the acting person does not own, or is an operator."""


def demand(user: LoggedIn, *, is_on: bool) -> None:
    """Let an account ask everyone for a second factor, or no longer. Commits.

    Raises NotAllowed, and NoFactor for a person who has none.
    """
    with members.changing(user.account_id):
        members.require_people(user)
        if is_on and not has_factor(user.id):
            raise NoFactor
        statement = update(Account).where(Account.id == user.account_id).values(demands_factor=is_on)
        db.session.execute(statement.execution_options(synchronize_session=False))
        audit.record(audit.Activity.FACTOR_DEMANDED, user.account_id, after={"on": is_on})
    record(SecurityEvent.FACTOR_DEMANDED, demanded="yes" if is_on else "no")


def reset_member(user: LoggedIn, member_id: int, *, now: datetime) -> None:
    """Remove the second factors of another person of the account, and end the person's sessions. Commits.

    Raises NotAllowed, NoMember, NoFactor or BelongsElsewhere.
    """
    with members.changing(user.account_id):
        members.require_people(user)
        if member_id == user.id:
            raise NotAllowed
        if db.session.get(Membership, (member_id, user.account_id), populate_existing=True) is None:
            raise NoMember
        if not has_factor(member_id):
            raise NoFactor
        if not _is_only_in_accounts_of(user.id, member_id):
            raise BelongsElsewhere
        _forget(member_id, (user.name, user.account.name), now)
        audit.record(audit.Activity.FACTOR_RESET, user.account_id, target=members.target_of(member_id))
    record(SecurityEvent.FACTOR_CHANGED, person=member_id, factor="all", change="removed")


def forget(mailbox: str, *, now: datetime) -> str | None:
    """Remove the second factors of a person by the operator's command; return the mailbox. Commits.

    Returns None for an unknown mailbox. Raises NoFactor.
    """
    found = db.session.execute(
        select(Owner.id, Owner.account_id, Owner.mailbox).where(Owner.mailbox_key == mailbox_key(mailbox))
    ).one_or_none()
    if found is None or not has_factor(found.id):
        db.session.rollback()
        if found is None:
            return None
        raise NoFactor
    _forget(found.id, None, now)
    audit.record(audit.Activity.FACTOR_RESET, account_of(found.id), target=members.target_of(found.id))
    db.session.commit()
    record(
        SecurityEvent.FACTOR_CHANGED,
        account=found.account_id,
        owner=found.id,
        person=found.id,
        factor="all",
        change="removed",
    )
    return str(found.mailbox)


def _forget(owner_id: int, who: tuple[str, str] | None, now: datetime) -> None:
    delete_all(owner_id)
    sessions.revoke(OwnerSession.owner_id == owner_id, now=now)
    emails.reset_by(owner_id, who, now=now)


def _is_only_in_accounts_of(actor_id: int, member_id: int) -> bool:
    mine = select(Membership.account_id).where(
        Membership.owner_id == actor_id, Membership.role.in_(roles_with(Right.PEOPLE))
    )
    others = select(Membership.account_id).where(
        Membership.owner_id == member_id, Membership.account_id.not_in(mine)
    )
    is_operator = db.session.scalar(select(Owner.is_operator).where(Owner.id == member_id))
    return not is_operator and db.session.scalar(others.limit(1)) is None
