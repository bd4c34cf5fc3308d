"""The types of event in an affiliate programme, and where events come from."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from flask_babel import lazy_gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_babel.speaklater import LazyString

OLD_AFTER = timedelta(days=30)  # an event that happened longer ago is recorded and causes no email
MAX_AHEAD = timedelta(
    hours=1
)  # of the portal's clock: clocks differ, and a shop may name a local time as UTC


class EventType(StrEnum):
    """The type of an event. The catalogue of notices lists the emails of each type."""

    SIGNED_UP = "signed-up"  # and is active at once
    APPLIED = "applied"  # and waits for approval
    APPROVED = "approved"
    DECLINED = "declined"
    INVITED = "invited"
    LEAD = "lead"
    PURCHASE = "purchase"
    COMMISSION_APPROVED = "commission-approved"
    COMMISSION_DECLINED = "commission-declined"
    REFUND = "refund"
    PAYOUT = "payout"
    CORRECTION = "correction"
    ORDER_REPEATED = "order-repeated"  # a purchase of an order that was reported before
    WEEK_ENDED = "week-ended"


# Changes of the affiliate's own status. They are reported in every state; the others to active affiliates only.
STATUS_EVENTS = frozenset(
    {EventType.SIGNED_UP, EventType.APPLIED, EventType.APPROVED, EventType.DECLINED, EventType.INVITED}
)


class Source(StrEnum):
    """Where an event comes from."""

    PORTAL = "portal"  # a page of this portal
    API = "api"  # the shop
    SIMULATED = "played"  # the owner, on the page that simulates events
    PLANNER = "planner"  # the weekly summary job
    IMPORT = "import"  # a CSV file of the owner


EVENT_LABELS: Mapping[EventType, LazyString] = {
    EventType.SIGNED_UP: _("Sign-up"),
    EventType.APPLIED: _("Application"),
    EventType.APPROVED: _("Approval"),
    EventType.DECLINED: _("Application declined"),
    EventType.INVITED: _("Invitation"),
    EventType.LEAD: _("Lead"),
    EventType.PURCHASE: _("Purchase"),
    EventType.COMMISSION_APPROVED: _("Commission approved"),
    EventType.COMMISSION_DECLINED: _("Commission declined"),
    EventType.REFUND: _("Refund"),
    EventType.PAYOUT: _("Payout"),
    EventType.CORRECTION: _("Correction"),
    EventType.ORDER_REPEATED: _("Order reported twice"),
    EventType.WEEK_ENDED: _("End of a week"),
}
