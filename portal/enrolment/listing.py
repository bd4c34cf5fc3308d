"""The owner's list of affiliates, and what the public sign-up page shows of a programme."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ..accounts.standing import is_limited
from ..affiliates.directory import find_programme
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate, AffiliateState
from ..clock import utcnow
from ..db import db
from ..db.transaction import read_snapshot
from ..events.models import Event, EventMail
from ..notices import recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox.models import OutboxMessage, Status
from ..programme import counts
from ..state import current_config
from ..web.pagination import Page, newest_first
from .signup_rules import Rules, get_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..accounts.models import Account
    from ..shop_links import LinkedAccount

TABS = (
    AffiliateState.ACTIVE,
    AffiliateState.PENDING,
    AffiliateState.UNCONFIRMED,
    AffiliateState.INVITED,
    AffiliateState.DECLINED,
    AffiliateState.SUSPENDED,
)
STATE_LABELS: Mapping[AffiliateState, str] = {
    AffiliateState.ACTIVE: "Active",
    AffiliateState.PENDING: "Waits for you",
    AffiliateState.UNCONFIRMED: "Unconfirmed",
    AffiliateState.INVITED: "Invited",
    AffiliateState.DECLINED: "Declined",
    AffiliateState.SUSPENDED: "Suspended",
}
# An affiliate who waited for approval is welcomed by "approved", any other by the sign-up email.
_WELCOME_KINDS = (NEW_SIGN_UP.kind, "approved")


@dataclass(frozen=True)
class AffiliateFilters:
    """Which affiliates to list. ``search`` is part of a name, mailbox or code; empty values list all."""

    search: str = ""
    state: AffiliateState | None = None


_ALL = AffiliateFilters()


@dataclass(frozen=True)
class PublicProgramme:
    """What the public pages show of a programme. ``account`` is detached from every session.

    ``rules`` are those in force. ``is_unnamed``: the email that asks to confirm does not name the programme.
    """

    account: Account
    rules: Rules
    emails_on: bool
    is_unnamed: bool


@dataclass(frozen=True)
class Welcome:
    """The welcome email of an affiliate. ``status`` is None if none was sent or the outbox has pruned it."""

    mail: EventMail
    status: Status | None


@dataclass(frozen=True)
class AffiliateRow:
    """One row of the owner's list. ``link`` is empty while it leads to no shop."""

    affiliate: Affiliate
    link: str
    welcome: Welcome | None
    visits: counts.VisitTotals


@dataclass(frozen=True)
class AffiliatePage:
    """One page of the owner's list. ``counts`` covers the whole list, by state; ``has_visits``: visits are counted."""

    rows: list[AffiliateRow]
    older: int | None
    newer: int | None
    counts: Mapping[AffiliateState, int]
    has_visits: bool

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def public_programme(slug: str) -> PublicProgramme | None:
    """Return what the public pages show of the programme with this slug."""
    with read_snapshot():
        account = find_programme(slug)
        if account is None:
            return None
        limited = is_limited(account)
        rules = get_rules(account.id)
        return PublicProgramme(
            account,
            replace(rules, confirm=True) if limited else rules,
            recipients.is_enabled(account.id, NEW_SIGN_UP),
            is_unnamed=limited,
        )


def list_affiliates(
    account: LinkedAccount,
    filters: AffiliateFilters = _ALL,
    *,
    before: int | None = None,
    after: int | None = None,
) -> AffiliatePage:
    """Return one page of the account's affiliates, newest first."""
    query = select(Affiliate).where(Affiliate.account_id == account.id)
    if filters.state is not None:
        query = query.where(Affiliate.state == filters.state)
    if filters.search:
        query = query.where(Affiliate.search_text.contains(filters.search.casefold(), autoescape=True))
    page: Page[Any] = newest_first(query, Affiliate.id, before=before, after=after)
    ids, config = [row.id for row in page.rows], current_config()
    welcomes, has_visits = _welcomes(ids), counts.are_counted(account.id)
    visits = counts.totals_by_affiliate(ids, now=utcnow()) if has_visits else {}
    rows = [
        AffiliateRow(
            row,
            public_url(row, account, config),
            welcomes.get(row.id),
            visits.get(row.id, counts.NO_VISITS),
        )
        for row in page.rows
    ]
    return AffiliatePage(rows, page.older, page.newer, count_by_state(account.id), has_visits)


def count_by_state(account_id: int) -> Mapping[AffiliateState, int]:
    """Return the number of affiliates in each state."""
    query = select(Affiliate.state, func.count()).where(Affiliate.account_id == account_id)
    return {row[0]: row[1] for row in db.session.execute(query.group_by(Affiliate.state))}


def _welcomes(affiliate_ids: Iterable[int]) -> Mapping[int, Welcome]:
    query = (
        select(Event.affiliate_id, EventMail, OutboxMessage.status)
        .join(EventMail, EventMail.event_id == Event.id)
        .outerjoin(OutboxMessage, OutboxMessage.id == EventMail.message_id)
        .where(Event.affiliate_id.in_(list(affiliate_ids)), EventMail.kind.in_(_WELCOME_KINDS))
        .order_by(EventMail.id)
    )
    return {id_: Welcome(mail, status) for id_, mail, status in db.session.execute(query) if id_}
