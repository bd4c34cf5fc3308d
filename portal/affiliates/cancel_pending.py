"""Cancels queued emails when their recipient is suspended, opts out or is suppressed, and stores the reason of each.

A message that is being submitted to a server at that moment is left unchanged. The caller commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..notices.catalogue import CATALOGUE, Audience
from ..outbox import cancellations
from ..outbox.models import Status
from ..outbox.queue import cancel_pending
from .models import Affiliate, SuppressionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

_SUSPENDED = "The affiliate was suspended while it waited."
_WITHDRAWN = "The new address was withdrawn while it waited."
_OPTED_OUT = "Its recipient chose not to get such emails while it waited."
_SUPPRESSED: Mapping[SuppressionReason, str] = {
    SuppressionReason.UNSUBSCRIBED: "Its recipient unsubscribed from such emails while it waited.",
    SuppressionReason.BOUNCED: "A server answered that there is no such mailbox while it waited.",
    SuppressionReason.COMPLAINED: "Its recipient reported an earlier email as spam while it waited.",
    SuppressionReason.BY_OWNER: "Its recipient was put on the list of blocked addresses while it waited.",
    SuppressionReason.ERASED: "The person was erased while it waited.",
}


def for_suspended(affiliate: Affiliate, *, now: datetime) -> None:
    """Cancel all queued emails to an affiliate. After the suspension the owner can retry them."""
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
    message_ids = cancel_pending(affiliate.account_id, affiliate.mailbox, kinds, Status.CANCELLED, now=now)
    cancellations.record_reason(message_ids, _SUSPENDED, now=now)


def for_erased(account_id: int, mailbox: str, *, now: datetime) -> None:
    """Cancel all queued emails to a mailbox of a person who is erased."""
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.audience is Audience.AFFILIATE]
    message_ids = cancel_pending(account_id, mailbox, kinds, Status.CANCELLED, now=now)
    cancellations.record_reason(message_ids, _SUPPRESSED[SuppressionReason.ERASED], now=now)


def portal_mail(kind: str, mailbox: str, *, now: datetime) -> None:
    """Cancel queued emails of the portal's own to a mailbox of a person who is erased."""
    message_ids = cancel_pending(None, mailbox, [kind], Status.CANCELLED, now=now)
    cancellations.record_reason(message_ids, _SUPPRESSED[SuppressionReason.ERASED], now=now)


def for_withdrawn(account_id: int, mailbox: str, kind: str, *, now: datetime) -> None:
    """Cancel a queued email that asks to confirm a new address, which was withdrawn."""
    message_ids = cancel_pending(account_id, mailbox, [kind], Status.CANCELLED, now=now)
    cancellations.record_reason(message_ids, _WITHDRAWN, now=now)


def for_opted_out(account_id: int, mailbox: str, kinds: Collection[str], *, now: datetime) -> None:
    """Suppress queued emails of the kinds that the recipient has opted out of."""
    if kinds:
        _suppress(account_id, mailbox, kinds, _OPTED_OUT, now)


def for_suppressed(account_id: int, mailbox: str, reason: SuppressionReason, *, now: datetime) -> None:
    """Suppress queued emails to a mailbox. One that unsubscribed still gets transactional emails."""
    unsubscribed = reason is SuppressionReason.UNSUBSCRIBED
    kinds = [notice.kind for notice in CATALOGUE.values() if notice.can_be_unsubscribed or not unsubscribed]
    _suppress(account_id, mailbox, kinds, _SUPPRESSED[reason], now)


def _suppress(account_id: int, mailbox: str, kinds: Collection[str], reason: str, now: datetime) -> None:
    message_ids = cancel_pending(account_id, mailbox, kinds, Status.SUPPRESSED, now=now)
    cancellations.record_reason(message_ids, reason, now=now)
