"""Queries for counted visits. Nothing in this module writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..accounts.models import Account, LinkForm
from ..db import db
from ..shop_links import form_in_use
from .models import VisitCount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

RECENT = timedelta(days=30)


@dataclass(frozen=True)
class VisitTotals:
    """The visits through one affiliate's link: in all, and of the last 30 days with the visitors, each once a day."""

    visits: int = 0
    recent_visits: int = 0
    recent_visitors: int = 0


NO_VISITS = VisitTotals()


def are_counted(account_id: int) -> bool:
    """Return whether visits of an account's links are counted: by its short links, or as its script reports them."""
    account = db.session.get(Account, account_id)
    if account is None or not account.shop_url:
        return False
    return form_in_use(account) is LinkForm.SHORT or account.script_seen_at is not None


def totals_of(account_id: int, affiliate_id: int, *, now: datetime) -> VisitTotals | None:
    """Return the visits through an affiliate's link, or None where visits are not counted."""
    if not are_counted(account_id):
        return None
    return totals_by_affiliate([affiliate_id], now=now).get(affiliate_id, NO_VISITS)


def totals_by_affiliate(affiliate_ids: Iterable[int], *, now: datetime) -> Mapping[int, VisitTotals]:
    """Return the visits by affiliate; those without any visit are left out."""
    since = (now - RECENT).date()
    is_recent = VisitCount.day > since
    query = select(
        VisitCount.affiliate_id,
        func.sum(VisitCount.visits),
        func.coalesce(func.sum(VisitCount.visits).filter(is_recent), 0),
        func.coalesce(func.sum(VisitCount.visitors).filter(is_recent), 0),
    ).where(VisitCount.affiliate_id.in_(list(affiliate_ids)))
    rows = db.session.execute(query.group_by(VisitCount.affiliate_id))
    return {row[0]: VisitTotals(*(int(number) for number in row[1:])) for row in rows}


def sum_visits(affiliate_ids: Sequence[int], first: date) -> int:
    """Return how many visits these affiliates' links had since a day of the account's time zone."""
    query = select(func.sum(VisitCount.visits)).where(
        VisitCount.affiliate_id.in_(affiliate_ids), VisitCount.day >= first
    )
    return int(db.session.scalar(query) or 0)
