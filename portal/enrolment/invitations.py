"""Inviting somebody by email: they join by a link of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from .. import rate_limit
from ..affiliates.models import Affiliate, AffiliateState, TokenPurpose
from ..affiliates.suppressions import find_suppression
from ..db import db
from ..events.dispatch import record_event
from ..events.models import EmailDecision, EventMail
from ..events.types import EventType, Source
from . import confirmation_links, signup

if TYPE_CHECKING:
    from ..accounts.models import Account

PER_ACCOUNT = rate_limit.RateLimit("invitations", 50, timedelta(days=1))


class InvitationRefused(Exception):
    """The invitation is not sent; the message says why, in one sentence."""


class TooManyInvitations(InvitationRefused):
    """The account has invited enough people for today, or this mailbox was written to enough."""


@dataclass(frozen=True)
class Invitation:
    """Whom to invite, in whose name, with which words of the owner's own."""

    name: str
    mailbox: str
    message: str
    invited_by: str


def invite(account: Account, wish: Invitation, *, now: datetime) -> EmailDecision:
    """Invite somebody, and return why no email is owed, if so. Commits. Raises InvitationRefused."""
    new = signup.new_affiliate(account, wish.name, wish.mailbox, now)
    new.state = AffiliateState.INVITED
    affiliate = _may_be_invited(account, new)
    allowed = rate_limit.consume(PER_ACCOUNT, account.id, now=now)
    allowed = allowed and rate_limit.consume(
        signup.PER_MAILBOX, signup.rate_limit_key(new.mailbox_key), now=now
    )
    if not allowed:
        db.session.commit()  # the count stays
        raise TooManyInvitations(
            f"You have sent {PER_ACCOUNT.amount} invitations today, or this address was written to three times "
            "today. Try again tomorrow."
        )
    why = _send(account, affiliate or _added(new), wish, now)
    db.session.commit()
    return why


def _may_be_invited(account: Account, new: Affiliate) -> Affiliate | None:
    """Return the row of somebody who was invited before; refuse whoever joined or must not be written to."""
    query = select(Affiliate).where(
        Affiliate.account_id == account.id, Affiliate.mailbox_key == new.mailbox_key
    )
    known = db.session.scalar(query.with_for_update())
    if known is not None and known.state is not AffiliateState.INVITED:
        db.session.rollback()
        raise InvitationRefused("Somebody with this address has signed up already; look into your list.")
    if find_suppression(account.id, new.mailbox) is not None:
        db.session.rollback()
        raise InvitationRefused(
            "This address is on your list of people who are not written to, so it gets no invitation."
        )
    return known


def _added(new: Affiliate) -> Affiliate:
    db.session.add(new)
    db.session.flush()
    return new


def _send(account: Account, affiliate: Affiliate, wish: Invitation, now: datetime) -> EmailDecision:
    row, address = confirmation_links.create_link(affiliate, TokenPurpose.JOIN, now=now)
    values = {"invited_by": wish.invited_by, "join_link": address, "message": wish.message}
    key = f"{EventType.INVITED}:{affiliate.id}:{row.token_hash[:16]}"
    caused = record_event(
        account, EventType.INVITED, affiliate, values, key=key, source=Source.PORTAL, now=now
    )
    mail = db.session.scalars(select(EventMail).where(EventMail.event_id == caused.event_id).limit(1)).first()
    row.message_id = mail.message_id if mail else None
    return mail.decision if mail else EmailDecision.OFF
