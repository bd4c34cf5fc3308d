"""Invitations by email. The invited person joins by a link of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from .. import audit, rate_limit, recipient_limits
from ..accounts.standing import is_limited
from ..affiliates.models import Affiliate, AffiliateState, TokenPurpose
from ..affiliates.suppressions import find_suppression
from ..db import db
from ..events.dispatch import NewEvent, record_event
from ..events.models import EmailDecision, EventMail
from ..events.types import EventType, Source
from ..notices import branding
from . import confirmation_links, signup

if TYPE_CHECKING:
    from ..accounts.models import Account

PER_ACCOUNT = rate_limit.RateLimit("invitations", 50, timedelta(days=1))


class InvitationRefused(Exception):
    """The invitation is not sent. The message is one sentence for the owner."""


class TooManyInvitations(InvitationRefused):
    """The account has sent too many invitations today, or this mailbox got too many emails."""


@dataclass(frozen=True)
class Invitation:
    """The recipient of an invitation, the owner's personal message and the name of the owner."""

    name: str
    mailbox: str
    message: str
    invited_by: str


def invite(account: Account, invitation: Invitation, *, now: datetime) -> EmailDecision:
    """Invite a person; return the decision about the email. Commits. Raises InvitationRefused."""
    if is_limited(account):
        raise InvitationRefused(
            _(
                "Your account is not approved yet, so the platform’s sender sends no invitations. Use your own "
                "SMTP server, or wait until the operator of this portal approves your account."
            )
        )
    if not branding.is_address_settled(account.id):
        raise InvitationRefused(_("Enter your postal address first, under Email design."))
    new = signup.new_affiliate(account, invitation.name, invitation.mailbox, now)
    new.state = AffiliateState.INVITED
    invited = _find_invited(account, new)
    allowed = rate_limit.consume(PER_ACCOUNT, account.id, now=now)
    allowed = allowed and recipient_limits.consume(recipient_limits.INVITATIONS, new.mailbox_key, now=now)
    if not allowed:
        db.session.commit()  # keep the count
        raise TooManyInvitations(
            _(
                "You have sent %(amount)s invitations today, or this address has already got three emails today. "
                "Try again tomorrow.",
                amount=PER_ACCOUNT.amount,
            )
        )
    affiliate = invited or _insert(account, new)
    decision = _send(account, affiliate, invitation, now)
    audit.record(
        audit.Activity.AFFILIATE_INVITED, account.id, target=audit.AuditTarget("affiliate", affiliate.id)
    )
    db.session.commit()
    return decision


def _find_invited(account: Account, new: Affiliate) -> Affiliate | None:
    """Return the locked row of a person who was invited before.

    Raises:
        InvitationRefused: The person has joined already, or the mailbox is suppressed.
    """
    query = select(Affiliate).where(
        Affiliate.account_id == account.id, Affiliate.mailbox_key == new.mailbox_key
    )
    known = db.session.scalar(query.with_for_update())
    if known is not None and known.state is not AffiliateState.INVITED:
        db.session.rollback()
        raise InvitationRefused(
            _("Someone with this address has already signed up. Search for it in your list.")
        )
    if find_suppression(account.id, new.mailbox) is not None:
        db.session.rollback()
        raise InvitationRefused(
            _("This address is on your list of blocked addresses, so it gets no invitation.")
        )
    return known


def _insert(account: Account, new: Affiliate) -> Affiliate:
    """Insert the row of a person, or return the one that a request at the same time inserted. Raises InvitationRefused."""
    try:
        with db.session.begin_nested():
            db.session.add(new)
    except IntegrityError:
        found = _find_invited(account, new)
        if found is None:
            raise
        return found
    return new


def _send(account: Account, affiliate: Affiliate, invitation: Invitation, now: datetime) -> EmailDecision:
    token, join_link = confirmation_links.create_link(affiliate, TokenPurpose.JOIN, now=now)
    values = {
        "invited_by": invitation.invited_by,
        "join_link": join_link,
        "message": invitation.message,
    }
    key = f"{EventType.INVITED}:{affiliate.id}:{token.token_hash[:16]}"
    new = NewEvent(account, EventType.INVITED, affiliate, values)
    recorded = record_event(new, key=key, source=Source.PORTAL, now=now)
    mail = db.session.scalars(
        select(EventMail).where(EventMail.event_id == recorded.event_id).limit(1)
    ).first()
    token.message_id = mail.message_id if mail else None
    return mail.decision if mail else EmailDecision.OFF
