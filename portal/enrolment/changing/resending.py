"""The owner lets the last email with a link be sent once more: the confirmation, or the invitation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select

from ... import audit, rate_limit, recipient_limits
from ...accounts.models import Account
from ...accounts.standing import is_limited
from ...affiliates.models import Affiliate, AffiliateState
from ...affiliates.suppressions import find_suppression
from ...db import db
from ...events.models import EmailDecision, Event
from ...events.types import EventType
from .. import confirmation_links, invitations
from ..invitations import Invitation, InvitationRefused, TooManyInvitations
from ..moderation import lock_affiliate

if TYPE_CHECKING:
    from datetime import datetime


def send_again(
    account: Account, affiliate_id: int, *, invited_by: str, now: datetime
) -> EmailDecision | None:
    """Send the confirmation or the invitation again; None for another account's affiliate. Commits.

    Raises:
        InvitationRefused: There is nothing to send, or the address may not be written to.
        TooManyInvitations: The limits of invitations are reached.
    """
    affiliate = lock_affiliate(account.id, affiliate_id)
    if affiliate is None:
        return None
    match affiliate.state:
        case AffiliateState.INVITED:
            message = _last_message(affiliate)
            invitation = Invitation(affiliate.name, affiliate.mailbox, message, invited_by)
            return invitations.invite(account, invitation, now=now)
        case AffiliateState.UNCONFIRMED:
            return _confirm_again(account, affiliate, now)
    db.session.rollback()
    raise InvitationRefused(_("This person has already used the link, so there is nothing to send again."))


def _confirm_again(account: Account, affiliate: Affiliate, now: datetime) -> EmailDecision:
    if is_limited(account):
        db.session.rollback()
        raise InvitationRefused(
            _("Your account is not approved yet. The person can ask for the email on your sign-up page.")
        )
    if find_suppression(account.id, affiliate.mailbox) is not None:
        db.session.rollback()
        raise InvitationRefused(_("This address is on your list of blocked addresses."))
    allowed = rate_limit.consume(invitations.PER_ACCOUNT, account.id, now=now)
    allowed = allowed and recipient_limits.consume(
        recipient_limits.INVITATIONS, affiliate.mailbox_key, now=now
    )
    if allowed:
        confirmation = confirmation_links.render_confirmation(
            db.session.get_one(Account, account.id), affiliate.language
        )
        confirmation_links.enqueue_confirmation(confirmation, affiliate, now=now)
        target = audit.AuditTarget("affiliate", affiliate.id)
        audit.record(audit.Activity.AFFILIATE_LINK_SENT, account.id, target=target)
    db.session.commit()  # keeps the count, too
    if not allowed:
        raise TooManyInvitations(
            _(
                "You have reached today’s limit for such emails, or this address has already got three today. "
                "Try again tomorrow."
            )
        )
    return EmailDecision.QUEUED


def _last_message(affiliate: Affiliate) -> str:
    """Return the owner's words in the last invitation."""
    query = select(Event.values).where(Event.affiliate_id == affiliate.id, Event.type == EventType.INVITED)
    values = db.session.scalars(query.order_by(Event.id.desc()).limit(1)).first()
    return str((values or {}).get("message", ""))
