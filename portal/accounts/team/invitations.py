"""Invitations into an account, and the offer of a person's ownership to a member, by a link that works once.

The link is emailed to the invited mailbox and shown nowhere, unless the portal cannot send emails. It ends after seven days,
when it is sent again or withdrawn, and when its sender may invite no more. ``accepting`` has what the invited person does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, delete, select, update

from ... import audit, rate_limit, recipient_limits
from ...db import db
from ...outbox.queue import enqueue_row
from ...rate_limit import RateLimit
from ...security_log import SecurityEvent, record
from ...smtp.mailbox import MailboxError
from ...state import current_config
from ...web.translations import current_language, speaking_to
from .. import emails, standing
from ..identifiers import login_mailbox, mailbox_key
from ..models import Account, Membership, Owner, TeamInvitation
from ..tokens import hash_token, new_token
from . import members
from .rights import Role, is_lower

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sessions import LoggedIn

LINK_LIFETIME = timedelta(days=7)
RETENTION = timedelta(days=30)
PER_ACCOUNT = RateLimit("team invitations by account", 20, timedelta(days=1))
IS_UNUSED = (TeamInvitation.used_at.is_(None), TeamInvitation.withdrawn_at.is_(None))


class CannotInvite(ValueError):
    """The invitation cannot be sent. The message is one sentence with the reason, for the field of the mailbox."""


@dataclass(frozen=True)
class SentInvitation:
    """An open invitation, for the page *Team*. It has no link: only the email has that."""

    id: int
    mailbox: str
    role: Role
    is_handover: bool
    inviter: str
    created_at: datetime
    has_ended: bool  # too old; it can be sent again


def invite(
    user: LoggedIn, mailbox: str, role: Role, *, link: Callable[[str], str], now: datetime
) -> str | None:
    """Invite the reader of a mailbox; an open invitation of it ends. Return the link where no email can be sent. Commits.

    Raises CannotInvite or NotAllowed.
    """
    parsed = _parse(mailbox)
    with members.changing(user.account_id):
        _require_role(user, role)
        key = mailbox_key(parsed)
        if _is_member(user.account_id, key):
            raise CannotInvite(_("This person already belongs to the team."))
        _withdraw(user.account_id, TeamInvitation.mailbox_key == key, now=now)
        row = TeamInvitation(mailbox=parsed, mailbox_key=key, role=role, account_id=user.account_id)
        shown = _send(row, user, link, now)
        _record(audit.Activity.INVITED, row)
    record(SecurityEvent.INVITED, as_operator="no")
    return shown


def offer_ownership(
    user: LoggedIn, member_id: int, *, link: Callable[[str], str], now: datetime
) -> str | None:
    """Offer one's own ownership to a member, who accepts by the link. As ``invite``; raises NoMember as well."""
    query = select(Owner.mailbox, Owner.mailbox_key).join(Membership, Membership.owner_id == Owner.id)
    this = (Membership.account_id == user.account_id, Membership.owner_id == member_id)
    with members.changing(user.account_id):
        _require_role(user, Role.OWNER)
        found = db.session.execute(query.where(*this)).one_or_none()
        if found is None or member_id == user.id:
            raise members.NoMember
        former = (TeamInvitation.is_handover.is_(True), TeamInvitation.inviter_id == user.id)
        _withdraw(user.account_id, *former, now=now)
        row = TeamInvitation(mailbox=found.mailbox, mailbox_key=found.mailbox_key, role=Role.OWNER)
        row.account_id, row.is_handover = user.account_id, True
        shown = _send(row, user, link, now)
        target = members.target_of(member_id)
        audit.record(audit.Activity.OWNERSHIP_OFFERED, user.account_id, target=target)
    record(SecurityEvent.INVITED, as_operator="no")
    return shown


def send_again(
    user: LoggedIn, invitation_id: int, *, link: Callable[[str], str], now: datetime
) -> str | None:
    """Send an invitation with a new link; the former one ends. As ``invite``; raises NoMember for an unknown one."""
    with members.changing(user.account_id):
        row = _find_sent(user, invitation_id)
        if row.is_handover and row.inviter_id != user.id:
            raise members.NotAllowed
        _require_role(user, row.role)
        shown = _send(row, user, link, now)
        _record(audit.Activity.INVITED_AGAIN, row)
    record(SecurityEvent.INVITED, as_operator="no")
    return shown


def withdraw(user: LoggedIn, invitation_id: int, *, now: datetime) -> None:
    """Withdraw an open invitation. Commits. Raises NoMember for an unknown one, or NotAllowed."""
    with members.changing(user.account_id):
        row = _find_sent(user, invitation_id)
        members.require_people(user)
        row.withdrawn_at = now
        _record(audit.Activity.INVITATION_WITHDRAWN, row)


def withdraw_sent_since(owner_id: int, since: datetime, *, now: datetime) -> int:
    """Withdraw the open invitations that a person sent since a moment; return their number. The caller commits."""
    sent = (TeamInvitation.inviter_id == owner_id, TeamInvitation.created_at >= since)
    rows = db.session.scalars(select(TeamInvitation).where(*sent, *IS_UNUSED)).all()
    for row in rows:
        row.withdrawn_at = now
        _record(audit.Activity.INVITATION_WITHDRAWN, row)
    return len(rows)


def sent_by(account_id: int, *, now: datetime) -> list[SentInvitation]:
    """Return the invitations of an account that were neither used nor withdrawn, the newest first."""
    query = select(TeamInvitation).where(TeamInvitation.account_id == account_id, *IS_UNUSED)
    rows = db.session.scalars(query.order_by(TeamInvitation.created_at.desc(), TeamInvitation.id.desc()))
    return [
        SentInvitation(
            one.id,
            one.mailbox,
            one.role,
            one.is_handover,
            one.inviter_name,
            one.created_at,
            one.created_at <= now - LINK_LIFETIME,
        )
        for one in rows
    ]


def delete_old(now: datetime) -> None:
    """Delete invitations 30 days after they were last sent, because the mailbox may be a stranger's. Commits."""
    db.session.execute(delete(TeamInvitation).where(TeamInvitation.created_at < now - RETENTION))
    db.session.commit()


# -- parts


def _record(action: audit.Activity, row: TeamInvitation) -> None:
    """Record what happens to an invitation. Of the mailbox only a part: it may be a stranger's."""
    db.session.flush()
    target = audit.AuditTarget("invitation", row.id, audit.hint_of_mailbox(row.mailbox))
    audit.record(action, row.account_id, target=target, after={"role": row.role.value})


def _parse(mailbox: str) -> str:
    try:
        return login_mailbox(mailbox)
    except MailboxError as error:
        raise CannotInvite(str(error)) from None


def _require_role(user: LoggedIn, role: Role) -> None:
    if is_lower(members.require_people(user), role):
        raise members.NotAllowed


def _is_member(account_id: int, key: str) -> bool:
    query = select(Owner.id).join(Membership, Membership.owner_id == Owner.id)
    found = query.where(Membership.account_id == account_id, Owner.mailbox_key == key)
    return db.session.scalar(found) is not None


def _find_sent(user: LoggedIn, invitation_id: int) -> TeamInvitation:
    this = (TeamInvitation.id == invitation_id, TeamInvitation.account_id == user.account_id)
    row = db.session.scalar(select(TeamInvitation).where(*this, *IS_UNUSED))
    if row is None:
        raise members.NoMember
    return row


def _withdraw(account_id: int, *which: ColumnElement[bool], now: datetime) -> None:
    statement = update(TeamInvitation).where(TeamInvitation.account_id == account_id, *which, *IS_UNUSED)
    db.session.execute(statement.values(withdrawn_at=now))


def _send(row: TeamInvitation, user: LoggedIn, link: Callable[[str], str], now: datetime) -> str | None:
    """Give an invitation a new token, and email it from the portal's own sender; without one, return the link."""
    can_send = bool(current_config().platform.server)
    account = db.session.get_one(Account, user.account_id, populate_existing=True)
    if can_send and standing.state_of(account) is not standing.AccountState.ACTIVE:
        raise CannotInvite(_("Your account sends no emails at the moment, so it cannot invite anyone."))
    if not rate_limit.consume(PER_ACCOUNT, user.account_id, now=now):
        raise CannotInvite(
            _(
                "Your team has sent %(limit)s invitations today. Try again tomorrow.",
                limit=PER_ACCOUNT.amount,
            )
        )
    # The owner of an account that no operator has approved counts as a stranger.
    approved = account.approved_at is not None
    limit = recipient_limits.INVITATIONS if approved else recipient_limits.BY_STRANGERS
    if can_send and not recipient_limits.consume(limit, row.mailbox_key, now=now):
        raise CannotInvite(_("This address has already got several such emails today. Try again tomorrow."))
    token = new_token()
    row.token_hash, row.created_at, row.is_emailed = hash_token(token), now, can_send
    row.inviter_id, row.inviter_name = user.id, user.name
    db.session.add(row)
    if can_send:
        # The name of a programme that no operator has approved is a visitor's text, which could be spam.
        programme = account.name if approved else ""
        make = emails.offer_ownership if row.is_handover else emails.invite_to_team
        known = db.session.scalar(select(Owner.language).where(Owner.mailbox_key == row.mailbox_key))
        with speaking_to(known or current_language().code):
            mail = make(row.mailbox, row.token_hash, link(token), programme)
        enqueue_row(None, mail, now=now)
    return None if can_send else link(token)
