"""Which events stop the mail to a mailbox: unknown mailboxes and complaints at once, soft bounces after three messages.

A mailbox that the account's own server refuses counts like an unknown one that is reported. A refusal by policy, reputation or
content never does: the mailbox exists. Only affiliates' mailboxes are suppressed, never the owner's. No function commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..accounts.models import Account
from ..affiliates import erased, suppressions
from ..affiliates.models import SuppressionReason
from ..affiliates.suppressions import SuppressionCause
from ..clock import utcnow
from ..db import db
from ..notices.recipients import recipients_of
from ..outbox.models import DeliveryAttempt, Outcome
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage
from . import breaker, outcomes
from .labels import source_name
from .meaning import REASON_CHARS, Meaning
from .models import REFUSED_AT_ONCE, MessageOutcome, SuppressionEffect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..outbox.models import OutboxMessage
    from ..outbox.store.types import Claim
    from .models import BounceEvent

SOFT_MESSAGES = 3  # different ones
SOFT_WITHIN = timedelta(days=14)
# RFC 3463 and RFC 7505: no such mailbox, no such host, a domain that accepts no mail. Other failures may be temporary.
_NO_SUCH_MAILBOX_CODES = frozenset({"5.1.1", "5.1.2", "5.1.10"})


def apply(event: BounceEvent, message: OutboxMessage, *, now: datetime) -> None:
    """Suppress the recipient's mailbox if the event asks for it, and note on the outcome what was done."""
    account_id, mailbox = event.account_id, message.recipient
    if event.meaning not in _RULES or not _may_suppress(account_id, mailbox):
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
    if outcome is not None and event.meaning is not Meaning.UNSUBSCRIBED:  # a bounce may still follow
        outcome.effect = effect


_RULES = {
    Meaning.HARD: SuppressionReason.BOUNCED,
    Meaning.SOFT: SuppressionReason.BOUNCED,
    Meaning.COMPLAINT: SuppressionReason.COMPLAINED,
    Meaning.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBED,
}


def on_attempt_settled(
    account_id: int | None, claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None, server: str
) -> None:
    """Suppress an affiliate's mailbox that the server refused as unknown, unless the breaker of its domain is open."""
    if account_id is None or outcome is not Outcome.REJECTED or diagnosis is None:
        return
    if diagnosis.get("retry_class") != RetryClass.RECIPIENT or claim.message.forced_version_id is not None:
        return
    row, message_id, mailbox = DeliveryAttempt.__table__.c, claim.message.id, claim.message.recipient
    query = select(row.stage, row.enhanced_code, row.reply_code, row.reply_text)
    stage, enhanced, code, reply = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    is_unknown = stage == Stage.RCPT and enhanced in _NO_SUCH_MAILBOX_CODES
    if not is_unknown or not _may_suppress(account_id, mailbox):
        return
    note, now = f"{server}: {code} {enhanced} {reply}", utcnow()
    refusal = db.session.get(MessageOutcome, message_id)
    if refusal is None:
        refusal = outcomes.add(account_id, message_id, mailbox, sent_at=now)
        refusal.meaning, refusal.source = Meaning.HARD, REFUSED_AT_ONCE
        refusal.event_key = f"attempt {claim.attempt_id}"
        refusal.occurred_at = refusal.noted_at = now
        refusal.status, refusal.reply_code, refusal.reason = enhanced, code, note[:REASON_CHARS]
        db.session.flush()
    refusal.effect = breaker.effect_of(refusal, now=now)
    if refusal.effect is SuppressionEffect.SUPPRESSED:
        cause = SuppressionCause(SuppressionReason.BOUNCED, note, message_id)
        suppressions.suppress_because(account_id, mailbox, cause, now=now)


def _may_suppress(account_id: int, mailbox: str) -> bool:
    """Whether a mailbox is an affiliate's, and none that gets the notices to the owner: an owner may be both for a trial.

    The blank mailboxes of erased persons are no receiver's, and their number opens no breaker.
    """
    if erased.is_blank(mailbox) or not suppressions.is_affiliate(account_id, mailbox):
        return False
    recipients = recipients_of(db.session.get_one(Account, account_id))
    return mailbox.casefold() not in {one.mailbox.casefold() for one in recipients}


def _note(event: BounceEvent) -> str:
    words = event.reason or " ".join(part for part in (str(event.reply_code or ""), event.status) if part)
    return f"{source_name(event.source)}: {words or event.kind}".strip().rstrip(":")


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
