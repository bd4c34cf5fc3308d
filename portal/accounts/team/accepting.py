"""Acceptance of an invitation or of an offered ownership, by the link that was sent.

A new person gets exactly the invited mailbox; a known one must be logged in as it. The role comes from the row, never from
the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import IntegrityError

from ... import audit
from ...db import db
from ...outbox.queue import enqueue_row
from ...security_log import SecurityEvent, record
from ...state import current_config
from ...web.translations import speaking_to
from .. import emails, login
from ..identifiers import mailbox_key
from ..models import Account, Membership, Owner, TeamInvitation
from ..passwords import check_password, hasher
from ..registration import MailboxTaken
from ..tokens import InvalidLink, hash_token
from . import members, programmes
from .invitations import IS_UNUSED, LINK_LIFETIME
from .rights import Role

if TYPE_CHECKING:
    from datetime import datetime

    from ..factors.entry import Entry
    from ..login import Visitor
    from ..sessions import LoggedIn


class OtherMailbox(Exception):
    """The person is logged in with another mailbox than the invited one."""


@dataclass(frozen=True)
class OfferedRole:
    """What the reader of a link may know before it is used."""

    programme: str
    account_id: int
    role: Role
    is_handover: bool
    inviter: str
    mailbox: str
    key: str
    is_known: bool  # a person with this mailbox logs in to this portal

    @property
    def masked(self) -> str:
        """The mailbox with most of its local part hidden: enough for its reader to recognise it."""
        return audit.hint_of_mailbox(self.mailbox)


def find(token: str, *, now: datetime) -> OfferedRole:
    """Return the offer behind a token: role, programme, mailbox and inviter. Raises InvalidLink."""
    row = _find_open(token, now)
    known = db.session.scalar(select(Owner.id).where(Owner.mailbox_key == row.mailbox_key))
    account = db.session.get_one(Account, row.account_id)
    return OfferedRole(
        account.name,
        account.id,
        row.role,
        row.is_handover,
        row.inviter_name,
        row.mailbox,
        row.mailbox_key,
        known is not None,
    )


def accept_new(token: str, *, name: str, password: str, now: datetime) -> int:
    """Register the invited person, who then belongs to this account only; return the person's id. Commits.

    Raises:
        InvalidLink: the link is invalid.
        MailboxTaken: the mailbox was registered since the page was opened.
        PasswordRefused: the password is not accepted; the link stays valid.
    """
    found = find(token, now=now)
    check_password(password, found.programme, name, found.mailbox)
    db.session.rollback()
    hashed = hasher().hash(password)
    try:
        with members.changing(found.account_id):
            row = _use(token, now)
            person = Owner(account_id=row.account_id, mailbox=row.mailbox, mailbox_key=row.mailbox_key)
            person.name, person.password_hash, person.created_at = name, hashed, now
            person.confirmed_at = now if row.is_emailed else None
            db.session.add(person)
            db.session.flush()
            audit.act_as(person.id, person.name)
            _join(row, person.id, now)
            joined = {"account": row.account_id, "owner": person.id}
    except IntegrityError:
        raise MailboxTaken(_("This email address has been registered in the meantime.")) from None
    record(SecurityEvent.JOINED, **joined)
    return joined["owner"]


def accept(token: str, user: LoggedIn, *, now: datetime) -> None:
    """Let a logged-in person join, and show the account in this session. Commits. Raises InvalidLink or OtherMailbox."""
    found = find(token, now=now)
    with members.changing(found.account_id):
        row = _use(token, now)
        if row.mailbox_key != mailbox_key(user.mailbox):
            raise OtherMailbox
        _join(row, user.id, now)
        programmes.show(user.id, user.session_id, row.account_id)
    record(SecurityEvent.JOINED, account=found.account_id, owner=user.id)


def accept_by_log_in(token: str, password: str, visitor: Visitor, *, now: datetime) -> Entry:
    """Log in the invited person by password and let the person join, unless a second factor comes first. Commits.

    Raises InvalidLink, and as ``login.log_in``.
    """
    mailbox = find(token, now=now).mailbox
    db.session.rollback()
    join = Joining(token, now)
    try:
        entered = login.log_in(mailbox, password, visitor, now=now, joining=join)
    except InvalidLink:
        db.session.rollback()
        raise
    join.record()
    return entered


class Joining:
    """Lets a person join by an invitation, in the transaction that starts the session."""

    def __init__(self, token: str, now: datetime) -> None:
        self._token = token
        self._now = now
        self._joined: dict[str, int] = {}

    def __call__(self, owner_id: int) -> int:
        """Let the invited person join, and return the account. Raises InvalidLink, or OtherMailbox."""
        row = _use(self._token, self._now)
        person = db.session.get_one(Owner, owner_id)
        if person.mailbox_key != row.mailbox_key:
            raise OtherMailbox
        audit.act_as(owner_id, person.name)
        _join(row, owner_id, self._now)
        self._joined = {"account": row.account_id, "owner": owner_id}
        return row.account_id

    def record(self) -> None:
        """Write to the security log that the person has joined, after the commit."""
        if self._joined:
            record(SecurityEvent.JOINED, **self._joined)


# -- parts


def _is_open(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a link works. The sender must still be able to invite."""
    return (
        TeamInvitation.token_hash == hash_token(token),
        *IS_UNUSED,
        TeamInvitation.created_at > now - LINK_LIFETIME,
        members.is_owner(TeamInvitation.inviter_id, TeamInvitation.account_id),
    )


def _find_open(token: str, now: datetime) -> TeamInvitation:
    row = db.session.scalar(select(TeamInvitation).where(*_is_open(token, now)))
    if row is None:
        raise InvalidLink
    return row


def _use(token: str, now: datetime) -> TeamInvitation:
    """Lock the account and mark the link as used; of two requests only one succeeds. Raises InvalidLink."""
    row = _find_open(token, now)
    members.lock(row.account_id)
    statement = update(TeamInvitation).where(*_is_open(token, now)).values(used_at=now)
    statement = statement.execution_options(synchronize_session=False)
    if int(db.session.execute(statement).rowcount) != 1:  # type: ignore[attr-defined]
        raise InvalidLink
    return row


def _join(row: TeamInvitation, owner_id: int, now: datetime) -> None:
    """Give the invited person the role of the row, unless the person belongs to the account already."""
    present = db.session.get(Membership, (owner_id, row.account_id), populate_existing=True)
    if row.is_handover:
        if present is None:
            raise InvalidLink  # removed since the offer
        _hand_over(row, present, now)
    elif present is None:
        db.session.add(
            Membership(
                owner_id=owner_id,
                account_id=row.account_id,
                role=row.role,
                joined_at=now,
                invited_by=row.inviter_name,
            )
        )
        db.session.flush()
        target = members.target_of(owner_id)
        audit.record(audit.Activity.JOINED, row.account_id, target=target, after={"role": row.role.value})


def _hand_over(row: TeamInvitation, taker: Membership, now: datetime) -> None:
    """Make the member an owner and the giver an editor, and email both."""
    giver, account = row.inviter_id, db.session.get_one(Account, row.account_id)
    taker.role = Role.OWNER
    db.session.flush()
    members.set_role(db.session.get_one(Membership, (giver, row.account_id)), Role.EDITOR, now=now)
    members.move_contact(row.account_id, from_id=giver, to_id=taker.owner_id)
    audit.record(audit.Activity.HANDED_OVER, row.account_id, target=members.target_of(giver))
    if current_config().platform.server:
        for person in (giver, taker.owner_id):
            owner = db.session.get_one(Owner, person)
            with speaking_to(owner.language):
                mail = emails.ownership_moved(owner.mailbox, f"{row.token_hash}:{person}", account.name)
            enqueue_row(None, mail, now=now)
