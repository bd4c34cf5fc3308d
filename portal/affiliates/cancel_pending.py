"""Emails that wait for somebody who is not to get them any more: they never leave, and each says why.

What is being handed to a server at that moment is left alone. The caller commits.
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
_UNWANTED = "Its recipient chose not to get such emails while it waited."
_LISTED: Mapping[SuppressionReason, str] = {
    SuppressionReason.UNSUBSCRIBED: "Its recipient unsubscribed from such emails while it waited.",
    SuppressionReason.BOUNCED: "A server said that there is no such mailbox while it waited.",
    SuppressionReason.BY_OWNER: "Its recipient was put on the list of those not written to while it waited.",
}


def for_suspended(affiliate: Affiliate, *, now: datetime) -> None:
    """Cancel whatever waits for an affiliate: let go on later, the owner may have it tried again."""
    kinds = [one.kind for one in CATALOGUE.values() if one.audience is Audience.AFFILIATE]
    _cancel(affiliate.account_id, affiliate.mailbox, kinds, Status.CANCELLED, _SUSPENDED, now)


def for_opted_out(account_id: int, mailbox: str, kinds: Collection[str], *, now: datetime) -> None:
    """Suppress what its recipient has just opted out of."""
    _cancel(account_id, mailbox, kinds, Status.SUPPRESSED, _UNWANTED, now)


def for_suppressed(account_id: int, mailbox: str, reason: SuppressionReason, *, now: datetime) -> None:
    """Suppress what may not go to a mailbox any more; one that unsubscribed still hears what happens."""
    soft = reason is SuppressionReason.UNSUBSCRIBED
    kinds = [one.kind for one in CATALOGUE.values() if one.can_be_unsubscribed or not soft]
    _cancel(account_id, mailbox, kinds, Status.SUPPRESSED, _LISTED[reason], now)


def _cancel(
    account_id: int, mailbox: str, kinds: Collection[str], status: Status, why: str, now: datetime
) -> None:
    if kinds:
        cancellations.record_reason(cancel_pending(account_id, mailbox, kinds, status, now=now), why, now=now)
