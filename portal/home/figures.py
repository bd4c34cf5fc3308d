"""Figures of the last seven days. Each is read through an index, or up to a bound, whatever the size of the account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ..affiliates.models import Affiliate, AffiliateState
from ..bounces import figures as outcomes
from ..db import db
from ..deliveries import stats
from ..outbox.models import Status
from ..programme import counts

if TYPE_CHECKING:
    from datetime import datetime

DAYS = 7
MAX_COUNTED = 1000
_MAX_WITH_VISITS = 2000  # visits are stored by affiliate, so their sum reads a row for each


@dataclass(frozen=True)
class Figures:
    """Counts since a midnight in UTC. ``delivered`` is None where no delivery was reported, ``bounced`` where nothing was.

    ``sign_ups`` ends at MAX_COUNTED. ``visits`` is None where visits are not counted, or for very many affiliates.
    """

    sent: int
    failed: int
    delivered: int | None
    bounced: int | None
    sign_ups: int
    visits: int | None

    @property
    def is_empty(self) -> bool:
        return not any((self.sent, self.failed, self.delivered, self.bounced, self.sign_ups, self.visits))


def read(account_id: int, *, now: datetime) -> Figures:
    """Return an account's figures of the last seven days, today included."""
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    settled = stats.count_settled(account_id, since)
    reported = outcomes.read(account_id, since, accepted=settled[Status.SENT])
    return Figures(
        sent=settled[Status.SENT],
        failed=settled[Status.FAILED],
        delivered=reported.delivered if reported.reports_deliveries else None,
        bounced=reported.bounced if reported.is_known else None,
        sign_ups=_sign_ups(account_id, since),
        visits=_visits(account_id, since),
    )


def _sign_ups(account_id: int, since: datetime) -> int:
    """Return how many affiliates were added. They are numbered in the order of time, so the newest are enough."""
    newest = (
        select(Affiliate.created_at)
        .where(Affiliate.account_id == account_id)
        .order_by(Affiliate.id.desc())
        .limit(MAX_COUNTED)
        .subquery()
    )
    query = select(func.count()).select_from(newest).where(newest.c.created_at >= since)
    return int(db.session.scalar(query) or 0)


def _visits(account_id: int, since: datetime) -> int | None:
    if not counts.are_counted(account_id):
        return None
    active = select(Affiliate.id).where(
        Affiliate.account_id == account_id, Affiliate.state == AffiliateState.ACTIVE
    )
    ids = db.session.scalars(active.limit(_MAX_WITH_VISITS + 1)).all()
    return counts.sum_visits(ids, since.date()) if len(ids) <= _MAX_WITH_VISITS else None
