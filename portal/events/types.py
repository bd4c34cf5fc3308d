"""What can happen in an affiliate programme, and who told us of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Occasion(StrEnum):
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
STANDING = frozenset(
    {Occasion.SIGNED_UP, Occasion.APPLIED, Occasion.APPROVED, Occasion.DECLINED, Occasion.INVITED}
)


class Source(StrEnum):
    """Who told us."""

    PORTAL = "portal"  # a page of this portal
    API = "api"  # the programme's shop
    PLAYED = "played"  # the owner, trying things out
    PLANNER = "planner"  # the calendar


NAMES: Mapping[Occasion, str] = {
    Occasion.SIGNED_UP: "Sign-up",
    Occasion.APPLIED: "Application",
    Occasion.APPROVED: "Approval",
    Occasion.DECLINED: "Application declined",
    Occasion.INVITED: "Invitation",
    Occasion.LEAD: "Lead",
    Occasion.PURCHASE: "Purchase",
    Occasion.COMMISSION_APPROVED: "Commission approved",
    Occasion.COMMISSION_DECLINED: "Commission declined",
    Occasion.REFUND: "Refund",
    Occasion.PAYOUT: "Payout",
    Occasion.WEEK_ENDED: "End of a week",
}
