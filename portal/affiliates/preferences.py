"""Email preferences of an affiliate, as chosen on the preferences page or by one-click unsubscribe in a mail client."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

from .. import rate_limit
from ..db import db
from ..notices.catalogue import CATALOGUE, Audience, Notice, name_for_affiliates
from . import cancel_pending, suppressions
from .models import Affiliate, AffiliateState, SuppressionReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Affiliates cannot opt out of these: they report the state of the affiliate and the payouts.
ESSENTIAL = frozenset(
    {"new-sign-up", "application-received", "approved", "declined", "payout-sent", "balance-corrected"}
)
_INVITATION = "invited"
# Descriptions that address the affiliate; those of the catalogue address the owner.
_WHEN = {
    "new-lead": _("When someone comes through your link and shows interest."),
    "new-purchase": _("When someone buys through your link."),
    "commission-approved": _("When your commission is approved for payout."),
    "commission-declined": _("When your commission is declined or the purchase is refunded."),
    "balance-corrected": _("When your balance is corrected for a reason other than an order."),
    "weekly-summary": _("Once a week, with the results of your link."),
    _INVITATION: _("When you are invited to join the programme."),
}
_PER_AFFILIATE = rate_limit.RateLimit("preferences", 60, timedelta(hours=1))


class TooManyChanges(Exception):
    """The preferences were saved more often than the rate limit allows."""


@dataclass(frozen=True)
class Choice:
    """One kind of email, its name, when it is sent, and whether the affiliate gets it."""

    notice: Notice
    name: str
    when: str
    wanted: bool
    essential: bool


def list_choices(affiliate: Affiliate, language: str | None) -> list[Choice]:
    """Return every kind of email this affiliate may get, the essential ones last, named in a language."""
    opted_out = suppressions.opted_out(affiliate.id)
    row = suppressions.find_suppression(affiliate.account_id, affiliate.mailbox)
    unsubscribed = row is not None and row.reason is SuppressionReason.UNSUBSCRIBED
    found = [
        Choice(
            notice,
            name=name_for_affiliates(notice, language),
            when=str(_WHEN.get(notice.kind, notice.when)),
            wanted=notice.kind not in opted_out and not (unsubscribed and notice.can_be_unsubscribed),
            essential=notice.kind in ESSENTIAL,
        )
        for notice in _notices(affiliate)
    ]
    return sorted(found, key=lambda choice: choice.essential)


def store_choices(affiliate: Affiliate, wanted: Collection[str], *, now: datetime) -> None:
    """Store which kinds of email the affiliate wants; the essential ones are always on. The caller commits.

    Raises:
        TooManyChanges: The rate limit is exceeded; the attempt is counted, and committed.
    """
    if not rate_limit.consume(_PER_AFFILIATE, affiliate.id, now=now):
        db.session.commit()  # keep the count
        raise TooManyChanges
    notices = [notice for notice in _notices(affiliate) if notice.kind not in ESSENTIAL]
    on = [notice for notice in notices if notice.kind in wanted]
    off = [notice.kind for notice in notices if notice not in on]
    suppressions.opt_out(affiliate.id, off, now=now)
    cancel_pending.for_opted_out(affiliate.account_id, affiliate.mailbox, off, now=now)
    suppressions.opt_in(affiliate.id, [notice.kind for notice in on])
    if any(notice.can_be_unsubscribed for notice in on):
        suppressions.remove_unsubscribed(affiliate.account_id, affiliate.mailbox)


def store_language(affiliate: Affiliate, code: str, *, now: datetime) -> None:
    """Store the language that an affiliate chose for pages and emails. Commits. Raises TooManyChanges."""
    if code == affiliate.language:
        return
    allowed = rate_limit.consume(_PER_AFFILIATE, affiliate.id, now=now)
    if allowed:
        affiliate.language = code
    db.session.commit()
    if not allowed:
        raise TooManyChanges


def one_click_notice(kind: str) -> Notice | None:
    """Return the notice of this kind if affiliates can unsubscribe from it with one click."""
    notice = CATALOGUE.get(kind)
    if notice is None or notice.audience is not Audience.AFFILIATE or not notice.can_be_unsubscribed:
        return None
    return notice


def unsubscribe(affiliate: Affiliate, notice: Notice, *, now: datetime) -> None:
    """Suppress summaries and promotional emails to this mailbox. A second time changes nothing. Commits."""
    suppressions.opt_out(affiliate.id, [notice.kind], now=now)
    suppressions.suppress(affiliate.account_id, affiliate.mailbox, SuppressionReason.UNSUBSCRIBED, now=now)
    db.session.commit()


def _notices(affiliate: Affiliate) -> Iterator[Notice]:
    """Yield the notices that this affiliate may get: invitations before joining, all others after."""
    is_invited = affiliate.state is AffiliateState.INVITED
    for notice in CATALOGUE.values():
        if notice.audience is not Audience.AFFILIATE or notice.always_on:
            continue
        if is_invited == (notice.kind == _INVITATION):
            yield notice
