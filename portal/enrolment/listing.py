"""The owner's list of affiliates, and what the public sign-up page shows of a programme."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from sqlalchemy import and_, case, exists, func, null, or_, select

from ..accounts.standing import is_limited
from ..affiliates import codes, same_mailbox
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
from ..programme.models import VisitCount
from ..state import current_config
from ..web.pagination import Count, Page, capped, newest_first
from .signup_rules import Rules, get_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row

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

    ``search`` is part of a name, mailbox, code or external id, or a whole order number or former code.
    """

    search: str = ""
    state: AffiliateState | None = None


MAX_COUNT = 1000  # affiliates that are counted exactly; more are "1,000+"
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

    ``total`` is without those erased, whom only their own tab lists. ``everyone`` is the number of all affiliates,
    whatever is searched. Each is counted up to ``MAX_COUNT``.
    """

    rows: list[AffiliateRow]
    older: int | None
    newer: int | None
    counts: Mapping[AffiliateState, Count]
    total: Count
    everyone: Count
    has_visits: bool


@dataclass(frozen=True)
class Funnel:
    """How many signed up, and how many of them are confirmed, and take part.

    ``visited``: those of the last whose link was visited; None where visits are not counted.
    """

    signed_up: int
    confirmed: int
    approved: int
    visited: int | None


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
    matching = _find_newest(account.id, filters.search) if filters.search else None
    page = _page(account.id, filters, matching, before=before, after=after)
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
    everyone = _count_all(account.id)
    by_state = everyone if matching is None else _count_matching(matching)
    listed = [by_state[state] for state in TABS if state is not AffiliateState.ERASED]
    total, all_of_them = _sum(listed), _sum(everyone.values())
    return AffiliatePage(rows, page.older, page.newer, by_state, total, all_of_them, has_visits)


def funnel(account_id: int, *, now: datetime) -> Funnel:
    """Return what became of the sign-ups of the last 30 days, up to the newest ``_MAX_FUNNEL``."""
    has_visits = counts.are_counted(account_id)
    row = Affiliate
    newest = (
        select(row.id, row.created_at, row.state)
        .where(row.account_id == account_id, row.import_id.is_(None), row.state != AffiliateState.INVITED)
        .order_by(row.id.desc())
        .limit(_MAX_FUNNEL)
        .subquery()
    )
    active = newest.c.state == AffiliateState.ACTIVE
    is_past_confirmation = newest.c.state != AffiliateState.UNCONFIRMED
    visited = exists().where(VisitCount.affiliate_id == newest.c.id, VisitCount.visits > 0)
    query = select(
        func.count(),
        func.sum(case((is_past_confirmation, 1), else_=0)),
        func.sum(case((active, 1), else_=0)),
        func.sum(case((and_(active, visited), 1), else_=0)) if has_visits else null(),
    ).where(newest.c.created_at >= now - timedelta(days=FUNNEL_DAYS))
    signed_up, confirmed, approved, visits = db.session.execute(query).one()
    return Funnel(signed_up, confirmed or 0, approved or 0, (visits or 0) if has_visits else None)


def conditions(account_id: int, search: str = "") -> Sequence[ColumnElement[bool]]:
    """Return the conditions of an account's affiliates that a search finds."""
    own = Affiliate.account_id == account_id
    if not search:
        return (own,)
    found = affiliates_of_order(account_id, search) | codes.affiliates_of_former(account_id, search)
    return own, or_(matches(search), Affiliate.id.in_(found))


def _find_newest(account_id: int, search: str) -> Sequence[Row[int, AffiliateState]]:
    """Return id and state of the newest ``MAX_COUNT + 1`` affiliates that a search finds, newest first.

    The page and the counts are read off these, so a search reads the account's affiliates once at most.
    """
    query = select(Affiliate.id, Affiliate.state).where(*conditions(account_id, search))
    return db.session.execute(query.order_by(Affiliate.id.desc()).limit(MAX_COUNT + 1)).all()


def _page(
    account_id: int,
    filters: AffiliateFilters,
    matching: Sequence[Row[int, AffiliateState]] | None,
    *,
    before: int | None,
    after: int | None,
) -> Page[Any]:
    """Return a page of what is listed. ``matching`` is what a search found, None without one."""
    if matching is not None and len(matching) <= MAX_COUNT:  # these are all
        found = Affiliate.id.in_([id_ for id_, _state in matching])
        query = select(Affiliate).where(*conditions(account_id), found)
    else:
        query = select(Affiliate).where(*conditions(account_id, filters.search))
    if filters.state is not None:
        query = query.where(Affiliate.state == filters.state)
    else:
        query = query.where(Affiliate.state != AffiliateState.ERASED)
    return newest_first(query, Affiliate.id, before=before, after=after)


def _count_all(account_id: int) -> Mapping[AffiliateState, Count]:
    """Count the account's affiliates by state, each read off an index up to ``MAX_COUNT + 1``."""
    own = select(Affiliate.id).where(Affiliate.account_id == account_id)
    some = [own.where(Affiliate.state == state).limit(MAX_COUNT + 1).subquery() for state in TABS]
    numbers = select(*(select(func.count()).select_from(one).scalar_subquery() for one in some))
    row = db.session.execute(numbers).one()
    return {state: capped(number, MAX_COUNT) for state, number in zip(TABS, row, strict=True)}


def _count_matching(matching: Sequence[Row[int, AffiliateState]]) -> Mapping[AffiliateState, Count]:
    """Count what a search found by state; where it found more than ``MAX_COUNT``, these are lower bounds."""
    more, by_state = len(matching) > MAX_COUNT, Counter(state for _id, state in matching)
    return {state: Count(min(by_state[state], MAX_COUNT), more) for state in TABS}


def _sum(counts: Iterable[Count]) -> Count:
    found = list(counts)
    number = sum(one.number for one in found)
    return Count(min(number, MAX_COUNT), number > MAX_COUNT or any(one.more for one in found))


def _welcomes(affiliate_ids: Iterable[int]) -> Mapping[int, Welcome]:
    query = (
        select(Event.affiliate_id, EventMail, OutboxMessage.status)
        .join(EventMail, EventMail.event_id == Event.id)
        .outerjoin(OutboxMessage, OutboxMessage.id == EventMail.message_id)
        .where(IS_WELCOME, Event.affiliate_id.in_(list(affiliate_ids)), EventMail.kind.in_(_WELCOME_KINDS))
        .order_by(EventMail.id)
    )
    return {id_: Welcome(mail, status) for id_, mail, status in db.session.execute(query) if id_}
