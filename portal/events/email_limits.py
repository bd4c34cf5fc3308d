"""How many emails about events one recipient gets from one account before further events are collected in one email.

Nothing is lost: an email over a limit is stored as part of the next digest (``digests``). Spellings of a mailbox count as
one. What visitors cause has limits of its own, so that they cannot turn an account's emails about sales into digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from .. import rate_limit
from ..notices.catalogue import Audience, Notice
from ..rate_limit import RateLimit
from ..recipient_limits import one_spelling
from ..state import current_config
from .types import EventType

if TYPE_CHECKING:
    from ..affiliates.models import Affiliate

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_SIGN_UPS = (EventType.SIGNED_UP, EventType.APPLIED)
# Once for each invitation, which has limits of its own, and once a week for each affiliate.
_UNLIMITED = (EventType.INVITED, EventType.WEEK_ENDED)
_DAYS_FACTOR = 3  # as many emails in a day as in so many hours
# To an owner, about sign-ups whose mailbox is not confirmed: with the daily digest, three emails a day.
_UNCONFIRMED = RateLimit("emails about unconfirmed sign-ups", 2, _DAY)
_DIGESTS = RateLimit("digests", 24, _DAY)


class Budget(Enum):
    """The counter that an email about an event belongs to."""

    NONE = "none"
    EVENTS = "events"
    SIGN_UPS = "sign-ups"  # to an owner: visitors cause them, with mailboxes that they read
    UNCONFIRMED = "unconfirmed"  # to an owner: visitors cause them, with any mailbox


@dataclass(frozen=True)
class _Step:
    """A limit, and how long an email over it waits for others."""

    limit: RateLimit
    wait: timedelta


def budget_of(type_: EventType, affiliate: Affiliate | None, notice: Notice) -> Budget:
    """Return the budget of an event's email."""
    if type_ in _UNLIMITED:
        return Budget.NONE
    if type_ not in _SIGN_UPS:
        return Budget.EVENTS
    is_confirmed = affiliate is not None and affiliate.confirmed_at is not None
    if notice.audience is Audience.OWNER:
        return Budget.SIGN_UPS if is_confirmed else Budget.UNCONFIRMED
    return Budget.EVENTS if is_confirmed else Budget.NONE  # the form has counted the email


def wait_for_digest(budget: Budget, account_id: int, mailbox: str, now: datetime) -> timedelta:
    """Count an email in the current transaction; return zero if it may leave alone, else how long it waits for others."""
    key = (budget.value, account_id, one_spelling(mailbox.casefold()))
    for step in _steps(budget):
        if not rate_limit.consume(step.limit, *key, now=now):
            return step.wait
    return timedelta()


def may_send_digest(account_id: int, mailbox: str, now: datetime) -> bool:
    """Count a digest in the current transaction; return whether it may leave now."""
    return rate_limit.consume(_DIGESTS, account_id, one_spelling(mailbox.casefold()), now=now)


def _steps(budget: Budget) -> tuple[_Step, ...]:
    """Return the limits, the one of the shorter window first: what it refuses does not count against the other."""
    match budget:
        case Budget.NONE:
            return ()
        case Budget.UNCONFIRMED:
            return (_Step(_UNCONFIRMED, _DAY),)
    amount = current_config().event_emails_per_hour
    return (
        _Step(RateLimit("event emails an hour", amount, _HOUR), _HOUR),
        _Step(RateLimit("event emails a day", amount * _DAYS_FACTOR, _DAY), 4 * _HOUR),
    )
