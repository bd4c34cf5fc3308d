"""What waits for the owner: affiliates and commissions to decide, open incidents, emails on hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import func, select

from ..affiliates.models import Affiliate, AffiliateState
from ..db import db
from ..incidents import incident_log, presenter
from ..money import approval_rule
from ..money.models import CAN_BE_APPROVED, Commission
from ..outbox.overview import count_waiting
from ..outbox.queue import find_queue

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_COUNTED = 1000
_MAX_INCIDENTS = 3


@dataclass(frozen=True)
class WaitingItem:
    """One thing to do, and the page that shows it."""

    sentence: str
    label: str
    endpoint: str
    values: tuple[tuple[str, Any], ...] = ()


def items(account_id: int) -> list[WaitingItem]:
    """Return what waits for the owner, the most urgent first."""
    return [*_incidents(account_id), *_held(account_id), *_affiliates(account_id), *_commissions(account_id)]


def _incidents(account_id: int) -> Iterator[WaitingItem]:
    for incident in incident_log.list_open(account_id)[:_MAX_INCIDENTS]:
        yield WaitingItem(
            presenter.sentence(incident),
            _("See the incident"),
            "incidents.show",
            (("incident_id", incident.id),),
        )


def _held(account_id: int) -> Iterator[WaitingItem]:
    queue = find_queue(account_id)
    if queue is None or queue.held_at is None:
        return
    if count := count_waiting(account_id, MAX_COUNTED):
        sentence = ngettext("1 email is on hold.", "%(num)s emails are on hold.", count)
        yield WaitingItem(_or_more(count, sentence), _("See waiting emails"), "incidents.waiting")


def _affiliates(account_id: int) -> Iterator[WaitingItem]:
    pending = (Affiliate.account_id == account_id, Affiliate.state == AffiliateState.PENDING)
    if count := _count(Affiliate.id, *pending):
        sentence = ngettext(
            "1 affiliate is waiting for your approval.",
            "%(num)s affiliates are waiting for your approval.",
            count,
        )
        values = (("status", AffiliateState.PENDING.value),)
        yield WaitingItem(_or_more(count, sentence), _("See applications"), "affiliates.index", values)


def _commissions(account_id: int) -> Iterator[WaitingItem]:
    if approval_rule.find_days(account_id) is not None:
        return  # they are approved by themselves
    if count := _count(Commission.id, Commission.account_id == account_id, CAN_BE_APPROVED):
        sentence = ngettext(
            "1 commission is waiting for your approval.",
            "%(num)s commissions are waiting for your approval.",
            count,
        )
        yield WaitingItem(_or_more(count, sentence), _("See commissions"), "money.index")


def _count(column: Any, *conditions: Any) -> int:
    """Return how many rows there are, up to MAX_COUNTED."""
    some = select(column).where(*conditions).limit(MAX_COUNTED).subquery()
    return int(db.session.scalar(select(func.count()).select_from(some)) or 0)


def _or_more(count: int, sentence: str) -> str:
    return sentence if count < MAX_COUNTED else f"{sentence} {_('There may be more: counting ends there.')}"
