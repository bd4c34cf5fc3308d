"""What can happen in an affiliate programme, and who told us of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventType(StrEnum):
    """Something that happened. Which notices it causes stands in the catalogue of notices."""

    SIGNED_UP = "signed-up"  # and may begin at once
    APPLIED = "applied"  # and waits for the owner's word
    APPROVED = "approved"
    DECLINED = "declined"
    INVITED = "invited"
    LEAD = "lead"
    PURCHASE = "purchase"
    COMMISSION_APPROVED = "commission-approved"
    COMMISSION_DECLINED = "commission-declined"
    REFUND = "refund"
    PAYOUT = "payout"
    WEEK_ENDED = "week-ended"


# These tell affiliates where they stand; the others are for those who take part.
STATUS_EVENTS = frozenset(
    {EventType.SIGNED_UP, EventType.APPLIED, EventType.APPROVED, EventType.DECLINED, EventType.INVITED}
)


class Source(StrEnum):
    """Who told us."""

    PORTAL = "portal"  # a page of this portal
    API = "api"  # the programme's shop
    SIMULATED = "played"  # the owner, trying things out
    PLANNER = "planner"  # the calendar


EVENT_LABELS: Mapping[EventType, str] = {
    EventType.SIGNED_UP: "Sign-up",
    EventType.APPLIED: "Application",
    EventType.APPROVED: "Approval",
    EventType.DECLINED: "Application declined",
    EventType.INVITED: "Invitation",
    EventType.LEAD: "Lead",
    EventType.PURCHASE: "Purchase",
    EventType.COMMISSION_APPROVED: "Commission approved",
    EventType.COMMISSION_DECLINED: "Commission declined",
    EventType.REFUND: "Refund",
    EventType.PAYOUT: "Payout",
    EventType.WEEK_ENDED: "End of a week",
}
