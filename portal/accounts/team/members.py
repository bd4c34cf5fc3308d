"""Changes to an account's people: role, removal, leaving, contact.

Each locks the account first, so that of two owners who lower or remove each other at one moment one stays. Who loses
something loses the sessions that show the account in the same transaction.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, case, func, select, update

from ... import audit
from ...audit.retention import PERSON
from ...db import db
from ...security_log import SecurityEvent, record
from .. import emails, sessions
from ..activity.warnings import warn_member
from ..factors.state import owns_factor
from ..models import Account, Membership, Owner, OwnerSession, TeamInvitation
from .rights import Right, Role, is_lower, may, roles_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy.orm import QueryableAttribute

    from ..sessions import LoggedIn

_NAMES_SHOWN = 5


class NotAllowed(Exception):
    """The person who acts holds the right no more, or would give more than their own role."""


class NoMember(Exception):
    """The person does not belong to the account."""


class LastOwner(Exception):
    """The account would be left without an owner."""


@dataclass(frozen=True)
class Member:
    """A person of an account, for the page *Team*."""

    id: int
    name: str
    mailbox: str
    role: Role
    joined_at: datetime
    invited_by: str
    is_contact: bool
    has_factor: bool


def members_of(account_id: int) -> list[Member]:
    """Return the people of an account: owners, editors, viewers, each the longest first."""
    rank = case({role: number for number, role in enumerate(Role)}, value=Membership.role)
    columns = (
        Owner.id,
        Owner.name,
        Owner.mailbox,
        Membership.role,
        Membership.joined_at,
        Membership.invited_by,
    )
    query = (
        select(*columns, Owner.id == func.coalesce(Account.contact_id, 0), owns_factor(Owner.id))
        .join_from(Membership, Owner, Owner.id == Membership.owner_id)
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.account_id == account_id)
        .order_by(rank, Membership.joined_at, Owner.id)
    )
    return [Member(*row) for row in db.session.execute(query)]


def names_with(account_id: int, right: Right) -> list[str]:
    """Return the names of the people of an account who hold a right, the highest role first."""
    found = [one.name for one in members_of(account_id) if may(one.role, right)]
    return found[:_NAMES_SHOWN]


def change_role(user: LoggedIn, member_id: int, role: Role, *, now: datetime) -> None:
    """Give a person of the account another role. Commits. Raises NotAllowed, NoMember or LastOwner."""
    with changing(user.account_id):
        if is_lower(require_people(user), role):
            raise NotAllowed
        member = _find(member_id, user.account_id)
        before = {"role": member.role.value}
        set_role(member, role, now=now, but=user.session_id)
        audit.record(
            audit.Activity.ROLE_CHANGED,
            user.account_id,
            target=target_of(member_id),
            before=before,
            after={"role": role.value},
        )
        if member_id != user.id and before["role"] != role.value:
            warn_member(member_id, user.account_id, partial(emails.role_changed, role=role.value))
    record(SecurityEvent.ROLE_CHANGED, person=member_id, role=role.value)


def remove(user: LoggedIn, member_id: int, *, now: datetime) -> None:
    """Remove a person from the account. Commits. Raises NotAllowed, NoMember or LastOwner."""
    with changing(user.account_id):
        require_people(user)
        member = _find(member_id, user.account_id)
        before = {"role": member.role.value}
        _remove(member, now)
        target = target_of(member_id)
        audit.record(audit.Activity.PERSON_REMOVED, user.account_id, target=target, before=before)
        warn_member(member_id, user.account_id, emails.removed_from_team)
    record(SecurityEvent.MEMBER_REMOVED, person=member_id)


def leave(user: LoggedIn, *, now: datetime) -> bool:
    """Remove oneself; return whether the session goes on, in another account of the person. Commits.

    Raises NoMember or LastOwner.
    """
    others = select(Membership.account_id).where(
        Membership.owner_id == user.id, Membership.account_id != user.account_id
    )
    with changing(user.account_id):
        other = db.session.scalar(others.order_by(Membership.joined_at).limit(1))
        if other is not None:
            session = update(OwnerSession).where(OwnerSession.id == user.session_id)
            db.session.execute(session.values(account_id=other, kept_form=""))
        member = _find(user.id, user.account_id)
        before = {"role": member.role.value}
        _remove(member, now)
        audit.record(audit.Activity.LEFT, user.account_id, target=target_of(user.id), before=before)
    record(SecurityEvent.MEMBER_REMOVED, person=user.id)
    return other is not None


def choose_contact(user: LoggedIn, member_id: int) -> None:
    """Let a person of the account get replies and the emails to the owner. Commits. Raises NotAllowed or NoMember."""
    with changing(user.account_id):
        require_people(user)
        _set_contact(user.account_id, _find(member_id, user.account_id).owner_id)
        audit.record(audit.Activity.CONTACT_CHOSEN, user.account_id, target=target_of(member_id))


# -- parts of transactions, for invitations as well


@contextmanager
def changing(account_id: int) -> Iterator[None]:
    """Run a block under the lock of an account's people, and commit; an exception undoes everything."""
    lock(account_id)
    try:
        yield
    except BaseException:
        db.session.rollback()
        raise
    db.session.commit()


def lock(account_id: int) -> None:
    """Let other changes to the account's people wait until the transaction ends. On SQLite it is the only writer anyway.

    A key-share lock on PostgreSQL, which does not block sign-ups. An account is locked before a person.
    """
    query = select(Account.id).where(Account.id == account_id)
    db.session.execute(query.with_for_update(key_share=True))


def require_people(user: LoggedIn) -> Role:
    """Return the person's role as it is now. Raises NotAllowed where it has lost the right since the request began."""
    found = _get(user.id, user.account_id)
    if found is None or not may(found.role, Right.PEOPLE):
        raise NotAllowed
    return found.role


def is_owner(owner: QueryableAttribute[int], account: QueryableAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that a person may change an account's people."""
    holds = Membership.role.in_(roles_with(Right.PEOPLE))
    mine = and_(Membership.owner_id == owner, Membership.account_id == account, holds)
    return select(Membership.owner_id).where(mine).exists()


def set_role(member: Membership, role: Role, *, now: datetime, but: int = 0) -> None:
    """Store a role under the lock. Where it is lower, end what depends on the former one. Raises LastOwner."""
    present = member.role
    if present is Role.OWNER and role is not Role.OWNER:
        _require_another_owner(member)
    member.role = role
    db.session.flush()
    if is_lower(role, present):
        _end(member.owner_id, member.account_id, now, but=but)


def target_of(owner_id: int) -> audit.AuditTarget:
    """Return a person as the target of a row of the audit trail."""
    name = db.session.scalar(select(Owner.name).where(Owner.id == owner_id)) or ""
    return audit.AuditTarget(PERSON, owner_id, name)


def move_contact(account_id: int, *, from_id: int, to_id: int) -> None:
    """Make a person the contact in place of another one, if that one is it."""
    account = db.session.get_one(Account, account_id, populate_existing=True)
    if account.contact_id in {from_id, None}:
        _set_contact(account_id, to_id)


def _remove(member: Membership, now: datetime) -> None:
    owner_id, account_id = member.owner_id, member.account_id
    if member.role is Role.OWNER:
        _require_another_owner(member)
    db.session.delete(member)
    db.session.flush()
    _end(owner_id, account_id, now)
    oldest = (
        select(Membership.owner_id)
        .where(Membership.account_id == account_id, Membership.role == Role.OWNER)
        .order_by(Membership.joined_at, Membership.owner_id)
        .limit(1)
    )
    move_contact(account_id, from_id=owner_id, to_id=db.session.scalars(oldest).one())


def _end(owner_id: int, account_id: int, now: datetime, *, but: int = 0) -> None:
    """End a person's sessions in an account, except one, and withdraw the invitations that the person sent."""
    shown = (OwnerSession.owner_id == owner_id, OwnerSession.account_id == account_id)
    sessions.revoke(*shown, OwnerSession.id != but, now=now)
    sent = (TeamInvitation.inviter_id == owner_id, TeamInvitation.account_id == account_id)
    is_open = (TeamInvitation.used_at.is_(None), TeamInvitation.withdrawn_at.is_(None))
    db.session.execute(update(TeamInvitation).where(*sent, *is_open).values(withdrawn_at=now))


def _get(owner_id: int, account_id: int) -> Membership | None:
    return db.session.get(Membership, (owner_id, account_id), populate_existing=True)


def _find(owner_id: int, account_id: int) -> Membership:
    found = _get(owner_id, account_id)
    if found is None:
        raise NoMember
    return found


def _require_another_owner(member: Membership) -> None:
    others = select(Membership.owner_id).where(
        Membership.account_id == member.account_id,
        Membership.role == Role.OWNER,
        Membership.owner_id != member.owner_id,
    )
    if db.session.scalar(others.limit(1)) is None:
        raise LastOwner


def _set_contact(account_id: int, owner_id: int) -> None:
    db.session.execute(update(Account).where(Account.id == account_id).values(contact_id=owner_id))
