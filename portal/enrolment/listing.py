"""The owner's list of affiliates, and what the public sign-up page shows of a programme."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from sqlalchemy import case, func, or_, select

from ..accounts.standing import is_limited
from ..affiliates import same_mailbox
from ..affiliates.directory import find_programme, matches
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate, AffiliateState
from ..clock import utcnow
from ..db import db
from ..db.transaction import read_snapshot
from ..events.models import IS_WELCOME, Event, EventMail
from ..money.listing import affiliates_of_order
from ..notices import recipients
from ..notices.catalogue import NEW_SIGN_UP
from ..outbox.models import OutboxMessage, Status
from ..programme import counts
from ..state import current_config
from ..web.pagination import Page, newest_first
from .signup_rules import Rules, get_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from ..accounts.models import Account
    from ..shop_links import LinkedAccount

TABS = (
    AffiliateState.ACTIVE,
    AffiliateState.PENDING,
    AffiliateState.UNCONFIRMED,
    AffiliateState.INVITED,
    AffiliateState.DECLINED,
    AffiliateState.SUSPENDED,
    AffiliateState.ERASED,
)
STATE_LABELS: Mapping[AffiliateState, str] = {
    AffiliateState.ACTIVE: _("Active"),
    AffiliateState.PENDING: _("Waiting for you"),
    AffiliateState.UNCONFIRMED: _("Unconfirmed"),
    AffiliateState.INVITED: _("Invited"),
    AffiliateState.DECLINED: _("Declined"),
    AffiliateState.SUSPENDED: _("Suspended"),
    AffiliateState.ERASED: _("Erased"),
}
# An affiliate who waited for approval is welcomed by "approved", any other by the sign-up email.
_WELCOME_KINDS = (NEW_SIGN_UP.kind, "approved")


@dataclass(frozen=True)
class AffiliateFilters:
    """Which affiliates to list; empty values list all.

    ``search`` is part of a name, mailbox, code or external id, or a whole order number.
    """

    search: str = ""
    state: AffiliateState | None = None


FUNNEL_DAYS = 30
_MAX_FUNNEL = 1000
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
    """One row of the owner's list. ``link`` is empty while it leads to no shop.

    ``shares_mailbox``: another affiliate has the same Gmail mailbox.
    """

    affiliate: Affiliate
    link: str
    welcome: Welcome | None
    visits: counts.VisitTotals
    shares_mailbox: bool


@dataclass(frozen=True)
class AffiliatePage:
    """One page of the owner's list. ``counts`` are those of the search, by state; ``has_visits``: visits are counted.

    ``everyone`` is the number of all affiliates, whatever is searched.
    """

    rows: list[AffiliateRow]
    older: int | None
    newer: int | None
    counts: Mapping[AffiliateState, int]
    everyone: int
    has_visits: bool

    @property
    def total(self) -> int:
        """The number of affiliates without those erased, whom only their own tab lists."""
        return sum(count for state, count in self.counts.items() if state is not AffiliateState.ERASED)


@dataclass(frozen=True)
class Funnel:
    """How many signed up, and how many of them are confirmed, and take part."""

    signed_up: int
    confirmed: int
    approved: int


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
    found = conditions(account.id, filters.search)
    query = select(Affiliate).where(*found)
    if filters.state is not None:
        query = query.where(Affiliate.state == filters.state)
    else:
        query = query.where(Affiliate.state != AffiliateState.ERASED)
    page: Page[Any] = newest_first(query, Affiliate.id, before=before, after=after)
    ids, config = [row.id for row in page.rows], current_config()
    welcomes, has_visits = _welcomes(ids), counts.are_counted(account.id)
    visits = counts.totals_by_affiliate(ids, now=utcnow()) if has_visits else {}
    shared = same_mailbox.shared_names(account.id, page.rows)
    rows = [
        AffiliateRow(
            row,
            public_url(row, account, config),
            welcomes.get(row.id),
            visits.get(row.id, counts.NO_VISITS),
            row.gmail_name in shared,
        )
        for row in page.rows
    ]
    by_state = _count_by_state(found)
    everyone = _count_by_state(conditions(account.id)) if filters.search else by_state
    return AffiliatePage(rows, page.older, page.newer, by_state, sum(everyone.values()), has_visits)


def funnel(account_id: int, *, now: datetime) -> Funnel:
    """Return what became of the sign-ups of the last 30 days, up to the newest ``_MAX_FUNNEL``."""
    row = Affiliate
    newest = (
        select(row.created_at, row.state, row.confirmed_at)
        .where(row.account_id == account_id, row.import_id.is_(None), row.state != AffiliateState.INVITED)
        .order_by(row.id.desc())
        .limit(_MAX_FUNNEL)
        .subquery()
    )
    active = newest.c.state == AffiliateState.ACTIVE
    is_past_confirmation = newest.c.state != AffiliateState.UNCONFIRMED
    query = select(
        func.count(),
        func.sum(case((is_past_confirmation, 1), else_=0)),
        func.sum(case((active, 1), else_=0)),
    ).where(newest.c.created_at >= now - timedelta(days=FUNNEL_DAYS))
    signed_up, confirmed, approved = db.session.execute(query).one()
    return Funnel(signed_up, confirmed or 0, approved or 0)


def conditions(account_id: int, search: str = "") -> Sequence[ColumnElement[bool]]:
    """Return the conditions of an account's affiliates that a search finds."""
    own = Affiliate.account_id == account_id
    if not search:
        return (own,)
    return own, or_(matches(search), Affiliate.id.in_(affiliates_of_order(account_id, search)))


def _count_by_state(found: Sequence[ColumnElement[bool]]) -> Mapping[AffiliateState, int]:
    query = select(Affiliate.state, func.count()).where(*found).group_by(Affiliate.state)
    return {row[0]: row[1] for row in db.session.execute(query)}


def _welcomes(affiliate_ids: Iterable[int]) -> Mapping[int, Welcome]:
    query = (
        select(Event.affiliate_id, EventMail, OutboxMessage.status)
        .join(EventMail, EventMail.event_id == Event.id)
        .outerjoin(OutboxMessage, OutboxMessage.id == EventMail.message_id)
        .where(IS_WELCOME, Event.affiliate_id.in_(list(affiliate_ids)), EventMail.kind.in_(_WELCOME_KINDS))
        .order_by(EventMail.id)
    )
    return {id_: Welcome(mail, status) for id_, mail, status in db.session.execute(query) if id_}
