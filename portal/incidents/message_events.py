"""Webhooks about messages and affiliates: sent, failed, bounced, complained, suppressed. Off until the owner asks for them.

A payload names a message by its id and an affiliate by the code, and holds no address and no text of an email. The
accounts that ask for these events are remembered for a second, so that an accepted message of any other account costs no
statement. While very many deliveries wait, those of accepted messages are left out, and while twice as many wait all are, so
that a receiver that is down fills no table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ..accounts.models import Account
from ..affiliates.models import Affiliate, SuppressionReason
from ..bounces.labels import source_name
from ..bounces.meaning import BOUNCES, Meaning
from ..clock import utcnow
from ..db import db
from ..outbox.models import Outcome
from ..state import get_state
from . import webhooks
from .models import IncidentPolicy, WebhookDelivery, WebhookState
from .presenter import redact_mailboxes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..bounces.outcomes import OutcomeChange
    from ..outbox.store.types import Claim

SENT, FAILED, BOUNCED, COMPLAINED = "message.sent", "message.failed", "message.bounced", "message.complained"
SUPPRESSED = "affiliate.suppressed"
_MAX_WAITING_SENT = 10_000  # deliveries of one account; then accepted messages are left out
_MAX_WAITING = 20_000  # then all of these events are
_CACHE_S = 1.0


@dataclass
class _Subscribers:
    """The accounts that ask for these events, and how many deliveries of each wait, counted up to the limit."""

    read_at: float = float("-inf")
    ids: frozenset[int] = frozenset()
    waiting: dict[int, int] = field(default_factory=dict)

    def includes(self, account_id: int, limit: int) -> bool:
        """Return whether an account gets an event for which so many deliveries may wait."""
        return account_id in self.ids and self.waiting.get(account_id, 0) < limit


def concerns_acceptance(account_id: int | None, claim: Claim) -> bool:
    """Whether an event is enqueued when a message is accepted."""
    if account_id is None or claim.message.forced_version_id is not None:
        return False
    return _subscribers().includes(account_id, _MAX_WAITING_SENT)


def on_attempt_settled(
    account_id: int | None, claim: Claim, outcome: Outcome, diagnosis: Mapping[str, Any] | None, _server: str
) -> None:
    """Enqueue the event of a message that was accepted or given up. The caller commits."""
    if account_id is None or claim.message.forced_version_id is not None:
        return
    if outcome not in (Outcome.ACCEPTED, Outcome.REJECTED):
        return
    subscribers = _subscribers()
    if not subscribers.includes(account_id, _MAX_WAITING):
        return
    message = claim.message
    about = {"id": message.id, "kind": message.kind}
    if outcome is Outcome.ACCEPTED and subscribers.includes(account_id, _MAX_WAITING_SENT):
        _enqueue(account_id, str(message.id), SENT, about, message.recipient)
    elif outcome is Outcome.REJECTED:
        cause = redact_mailboxes(str((diagnosis or {}).get("cause", "")))
        _enqueue(
            account_id,
            f"{message.id}:{claim.tries}",
            FAILED,
            {**about, "cause": cause},
            message.recipient,
        )


def on_outcome_change(change: OutcomeChange) -> None:
    """Enqueue the event of a message that bounced or was called spam. The caller commits."""
    outcome = change.outcome
    is_complaint = change.after is Meaning.COMPLAINT
    if not is_complaint and change.after not in BOUNCES:
        return
    if not _subscribers().includes(outcome.account_id, _MAX_WAITING):
        return
    event = COMPLAINED if is_complaint else BOUNCED
    about = {
        "id": change.message.id,
        "kind": change.message.kind,
        "outcome": change.after.value,
        "status": outcome.status or None,
        "reply_code": outcome.reply_code,
        "reason": redact_mailboxes(outcome.reason),
        "reported_by": source_name(outcome.source),
    }
    key = f"{change.message.id}:{change.after}"
    _enqueue(outcome.account_id, key, event, about, change.message.recipient)


def on_suppressed(account_id: int, mailbox: str, reason: SuppressionReason, row_id: int) -> None:
    """Enqueue the event of an affiliate whose mailbox is not written to any more, once a day. The caller commits."""
    if not _subscribers().includes(account_id, _MAX_WAITING):
        return
    key = f"{row_id}:{reason}:{utcnow():%Y%m%d}"
    _enqueue(account_id, key, SUPPRESSED, None, mailbox, reason=reason.value)


def _enqueue(
    account_id: int, key: str, event: str, message: Mapping[str, Any] | None, mailbox: str, **more: Any
) -> None:
    slug = db.session.scalar(select(Account.slug).where(Account.id == account_id))
    query = select(Affiliate.code).where(
        Affiliate.account_id == account_id, Affiliate.mailbox_key == mailbox.casefold()
    )
    code = db.session.scalar(query)
    payload = {"account": slug, "affiliate": {"code": code} if code else None, **more}
    if message is not None:
        payload["message"] = dict(message)
    # The id of a delivery may hold no full stop: these separate id, timestamp and body in what is signed.
    webhooks.enqueue(account_id, f"{event.replace('.', '-')}:{key}", event, payload, now=utcnow())


def _subscribers() -> _Subscribers:
    cache = get_state().part(_Subscribers)
    if not 0 <= monotonic() - cache.read_at < _CACHE_S:
        row = IncidentPolicy
        query = select(row.account_id).where(row.message_events, row.webhook_enabled)
        cache.ids, cache.read_at = frozenset(db.session.scalars(query)), monotonic()
        cache.waiting = {account_id: _count_waiting(account_id) for account_id in cache.ids}
    return cache


def _count_waiting(account_id: int) -> int:
    waiting = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.account_id == account_id, WebhookDelivery.state == WebhookState.WAITING)
        .limit(_MAX_WAITING)
        .subquery()
    )
    return db.session.scalar(select(func.count()).select_from(waiting)) or 0
