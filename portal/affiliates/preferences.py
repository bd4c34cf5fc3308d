"""What an affiliate wants to hear of: chosen on a page, or ended with one click in a mail programme."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import rate_limit
from ..db import db
from ..notices.catalogue import CATALOGUE, Audience, Category, Notice
from . import cancel_pending, suppressions
from .models import Affiliate, AffiliateState, SuppressionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Whoever takes part must learn where they stand and what they were paid.
ESSENTIAL = frozenset({"new-sign-up", "application-received", "approved", "declined", "payout-sent"})
_INVITATION = "invited"
# The catalogue speaks to the owner.
_WHEN = {
    "new-lead": "When somebody comes through your link and shows interest.",
    "new-purchase": "When somebody buys through your link.",
    "commission-approved": "When your commission is approved for payout.",
    "commission-declined": "When your commission is declined, or its purchase is refunded.",
    "weekly-summary": "Once a week, with what came of your link.",
    _INVITATION: "When you are invited to take part.",
}
_CHANGES = rate_limit.RateLimit("preferences", 60, timedelta(hours=1))


class TooManyChanges(Exception):
    """Nobody changes their mind so often."""


@dataclass(frozen=True)
class Choice:
    """One kind of email, when it comes, and whether the affiliate gets it."""

    notice: Notice
    when: str
    wanted: bool
    essential: bool


def list_choices(affiliate: Affiliate) -> list[Choice]:
    """Return every kind of email this affiliate may get, the essential ones last."""
    out = suppressions.opted_out(affiliate.id)
    row = suppressions.find_suppression(affiliate.account_id, affiliate.mailbox)
    soft_off = row is not None and row.reason is SuppressionReason.UNSUBSCRIBED
    found = [
        Choice(
            notice,
            when=_WHEN.get(notice.kind, notice.when),
            wanted=notice.kind not in out and not (soft_off and _is_soft(notice)),
            essential=notice.kind in ESSENTIAL,
        )
        for notice in _notices(affiliate)
    ]
    return sorted(found, key=lambda choice: choice.essential)


def save(affiliate: Affiliate, wanted: Collection[str], *, now: datetime) -> None:
    """Keep what the affiliate chose; the essential emails are no choice. Commits. Raises TooManyChanges."""
    if not rate_limit.consume(_CHANGES, affiliate.id, now=now):
        db.session.commit()  # the count stays
        raise TooManyChanges
    notices = [notice for notice in _notices(affiliate) if notice.kind not in ESSENTIAL]
    on = [notice for notice in notices if notice.kind in wanted]
    off = [notice.kind for notice in notices if notice not in on]
    suppressions.opt_out(affiliate.id, off, now=now)
    cancel_pending.for_opted_out(affiliate.account_id, affiliate.mailbox, off, now=now)
    suppressions.opt_in(affiliate.id, [n.kind for n in on])
    if any(_is_soft(notice) for notice in on):
        suppressions.remove_unsubscribed(affiliate.account_id, affiliate.mailbox)
    db.session.commit()


def one_click_notice(kind: str) -> Notice | None:
    """Return the kind of email that one click may end."""
    notice = CATALOGUE.get(kind)
    return (
        notice if notice is not None and notice.audience is Audience.AFFILIATE and _is_soft(notice) else None
    )


def unsubscribe(affiliate: Affiliate, notice: Notice, *, now: datetime) -> None:
    """End summaries and promotion for this mailbox; a second time changes nothing. Commits."""
    suppressions.opt_out(affiliate.id, [notice.kind], now=now)
    suppressions.suppress(affiliate.account_id, affiliate.mailbox, SuppressionReason.UNSUBSCRIBED, now=now)
    db.session.commit()


def _notices(affiliate: Affiliate) -> Iterator[Notice]:
    for notice in CATALOGUE.values():
        invitation = notice.kind == _INVITATION
        if notice.audience is not Audience.AFFILIATE or notice.locked:
            continue
        if invitation == (affiliate.state is AffiliateState.INVITED):
            yield notice


def _is_soft(notice: Notice) -> bool:
    return notice.category is not Category.TRANSACTIONAL
