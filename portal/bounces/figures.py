"""How many messages of a span were delivered, bounced or called spam, beside the limits that receivers publish.

A message counts in the hour in which it was accepted, however late its outcome is reported.
Sources of the limits: support.google.com/a/answer/81126 and senders.yahooinc.com/best-practices (complaints, 0.3 %),
docs.aws.amazon.com/ses, Reputation dashboard (bounces, 5 %).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, union_all

from ..db.prepared import PreparedStatement, any_of
from .mailbox.models import BounceMailbox
from .meaning import BOUNCES, DELIVERED, Meaning
from .models import BounceHook, OutcomeHour

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COMPLAINT_LIMIT = 0.003  # of the delivered messages; Google and Yahoo
BOUNCE_LIMIT = 0.05  # of the accepted messages; Amazon
MIN_MESSAGES = 200  # below, a rate is not meaningful
_SINCE = (OutcomeHour.account_id == bindparam("account_id"), OutcomeHour.hour >= bindparam("since"))
_BY_MEANING = PreparedStatement(
    select(OutcomeHour.meaning, func.sum(OutcomeHour.count)).where(*_SINCE).group_by(OutcomeHour.meaning)
)
_REPORTED_BY_HOUR = PreparedStatement(
    select(OutcomeHour.hour, OutcomeHour.meaning, func.sum(OutcomeHour.count))
    .where(*_SINCE, any_of(OutcomeHour.meaning, (*DELIVERED, *BOUNCES)))
    .group_by(OutcomeHour.hour, OutcomeHour.meaning)
)
_IS_SET_UP = PreparedStatement(
    union_all(
        select(BounceHook.id).where(BounceHook.account_id == bindparam("account_id")),
        select(BounceMailbox.id).where(BounceMailbox.account_id == bindparam("account_id")),
    ).limit(1)
)


@dataclass(frozen=True)
class ReportedCounts:
    """How many messages of an hour or a day were reported as delivered, and how many as bounced."""

    delivered: int = 0
    bounced: int = 0


@dataclass(frozen=True)
class OutcomeFigures:
    """Counts of a span, of ``accepted`` messages."""

    accepted: int
    counts: Mapping[Meaning, int]

    @property
    def delivered(self) -> int:
        return sum(self.counts.get(meaning, 0) for meaning in DELIVERED)

    @property
    def reports_deliveries(self) -> bool:
        """Whether any delivery was reported; a mailbox for bounces gets none."""
        return bool(self.counts.get(Meaning.DELIVERED))

    @property
    def bounced(self) -> int:
        return sum(self.counts.get(meaning, 0) for meaning in BOUNCES)

    @property
    def complained(self) -> int:
        return self.counts.get(Meaning.COMPLAINT, 0)

    @property
    def is_known(self) -> bool:
        """Whether anything was reported."""
        return any(self.counts.values())

    @property
    def bounce_rate(self) -> float:
        return self.bounced / max(self.accepted, self.bounced, 1)

    @property
    def complaint_rate(self) -> float:
        """Complaints per delivered message; per accepted one where few deliveries are reported, or none."""
        base = self.delivered if self.delivered >= MIN_MESSAGES else self.accepted
        return self.complained / max(base, self.complained, 1)


def read(account_id: int, since: datetime, *, accepted: int) -> OutcomeFigures:
    """Return the figures of the messages that an account sent since a full hour."""
    rows = _BY_MEANING.all(account_id=account_id, since=since)
    return OutcomeFigures(accepted, {meaning: int(count) for meaning, count in rows})


def is_set_up(account_id: int) -> bool:
    """Return whether a provider or a mailbox may report to an account."""
    return _IS_SET_UP.scalar(account_id=account_id) is not None


def reported_since(account_id: int, since: datetime, *, days: bool) -> Mapping[datetime, ReportedCounts]:
    """Return what was reported, by the hour or the day in UTC in which messages were accepted, from a full hour on."""
    found: defaultdict[datetime, Counter[Meaning]] = defaultdict(Counter)
    for hour, meaning, count in _REPORTED_BY_HOUR.all(account_id=account_id, since=since):
        found[hour.replace(hour=0) if days else hour][meaning] += int(count)
    return {
        at: ReportedCounts(sum(counts[one] for one in DELIVERED), sum(counts[one] for one in BOUNCES))
        for at, counts in found.items()
    }
