"""Which events stop the mail to a mailbox: unknown mailboxes and complaints at once, soft bounces after three messages.

A refusal by policy, reputation or content never does: the mailbox exists. Only affiliates' mailboxes are suppressed, never the
owner's. No function commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..affiliates import suppressions
from ..affiliates.models import SuppressionReason
from ..affiliates.suppressions import SuppressionCause
from ..db import db
from . import breaker, outcomes
from .meaning import Meaning
from .models import MessageOutcome, SuppressionEffect

if TYPE_CHECKING:
    from ..outbox.models import OutboxMessage
    from .models import BounceEvent

SOFT_MESSAGES = 3  # different ones
SOFT_WITHIN = timedelta(days=14)


def apply(event: BounceEvent, message: OutboxMessage, *, now: datetime) -> None:
    """Suppress the recipient's mailbox if the event asks for it, and note on the outcome what was done."""
    account_id, mailbox = event.account_id, message.recipient
    if event.meaning not in _RULES or not suppressions.is_affiliate(account_id, mailbox):
        return
    if suppressions.was_lifted_since(account_id, mailbox, message.settled_at or message.created_at):
        return  # the owner decided about messages of that time already
    outcome = outcomes.find(message.id)
    effect = SuppressionEffect.SUPPRESSED
    if event.meaning is Meaning.HARD and outcome is not None:
        if outcome.effect is not SuppressionEffect.NONE:
            return
        effect = breaker.effect_of(outcome, now=now)
    elif event.meaning is Meaning.SOFT and not _has_too_many_soft(account_id, mailbox, now):
        return
    if effect is SuppressionEffect.SUPPRESSED:
        cause = SuppressionCause(_RULES[event.meaning], _note(event), message.id)
        suppressions.suppress_because(account_id, mailbox, cause, now=now)
    if outcome is not None:
        outcome.effect = effect


_RULES = {
    Meaning.HARD: SuppressionReason.BOUNCED,
    Meaning.SOFT: SuppressionReason.BOUNCED,
    Meaning.COMPLAINT: SuppressionReason.COMPLAINED,
    Meaning.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBED,
}


def _note(event: BounceEvent) -> str:
    words = event.reason or " ".join(part for part in (str(event.reply_code or ""), event.status) if part)
    return f"{event.source}: {words or event.kind}".strip().rstrip(":")


def _has_too_many_soft(account_id: int, mailbox: str, now: datetime) -> bool:
    """Whether three different messages failed within 14 days, none of them before the last one that was delivered."""
    row = MessageOutcome
    mine = (
        row.account_id == account_id,
        row.mailbox_key == mailbox.casefold(),
        row.sent_at > now - SOFT_WITHIN,
    )
    delivered = select(func.max(row.sent_at)).where(*mine, row.meaning == Meaning.DELIVERED)
    soft = select(row.sent_at).where(*mine, row.meaning == Meaning.SOFT).order_by(row.sent_at.desc())
    times = list(db.session.scalars(soft.limit(SOFT_MESSAGES)))
    last = db.session.scalar(delivered)
    lifted = suppressions.last_lifted_at(account_id, mailbox)
    since = max([at for at in (last, lifted) if at is not None], default=None)
    return len([at for at in times if since is None or at > since]) >= SOFT_MESSAGES
