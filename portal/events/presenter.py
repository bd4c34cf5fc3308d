"""Events in plain words: what happened, which emails it caused, and why one was not sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import url_for
from sqlalchemy import select

from ..affiliates.directory import joined_by_invitation
from ..affiliates.models import Affiliate
from ..db import db
from ..notices.catalogue import CATALOGUE
from ..outbox.models import OutboxMessage, Status
from .event_log import emails_by_event
from .models import EmailDecision, Event, EventMail
from .types import EVENT_LABELS, EventType, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SOURCE_LABELS: Mapping[Source, str] = {
    Source.PORTAL: "By you, in this portal",
    Source.API: "Told by your shop",
    Source.SIMULATED: "Played by you",
    Source.PLANNER: "By the calendar",
}
# Why there was no email, and what the owner may do about it.
NOT_SENT_REASONS: Mapping[EmailDecision, tuple[str, str]] = {
    EmailDecision.OFF: ("This email is switched off.", "Switch it on"),
    EmailDecision.OPTED_OUT: ("The affiliate does not want this email.", ""),
    EmailDecision.SUPPRESSED: ("This address is not written to.", "See why"),
    EmailDecision.NOT_CONFIRMED: ("The affiliate has not confirmed the address yet.", ""),
    EmailDecision.DUPLICATE: ("The same email was owed already; nobody gets it twice.", ""),
    EmailDecision.SUSPENDED: ("The affiliate is suspended, and is not written to.", "See the affiliate"),
    EmailDecision.NOT_ACTIVE: (
        "The affiliate did not take part in your programme at that time.",
        "See the affiliate",
    ),
    EmailDecision.UNRENDERABLE: ("Your text for this email could not be read.", "Mend the text"),
    EmailDecision.NOTHING_TO_TELL: ("There was nothing to tell of that week.", ""),
}


@dataclass(frozen=True)
class EmailView:
    """One email of an event, ready to be shown; ``status`` is empty where the log no longer holds it."""

    name: str
    whom: str
    recipient: str
    message_id: int | None
    status: Status | None
    why: str
    action: str
    url: str


@dataclass(frozen=True)
class EventView:
    """One event, ready to be shown."""

    event: Event
    name: str
    facts: str
    source: str
    affiliate: Affiliate | None
    mails: list[EmailView]


def describe_events(events: Sequence[Event]) -> list[EventView]:
    """Put events into words, with a handful of queries for all of them."""
    mails = emails_by_event(event.id for event in events)
    people = _affiliates_by_id({event.affiliate_id for event in events if event.affiliate_id is not None})
    sources = source_labels(events)
    statuses = _status_by_message(
        {m.message_id for some in mails.values() for m in some if m.message_id is not None}
    )
    return [
        EventView(
            event=event,
            name=EVENT_LABELS[event.type],
            facts=event_details(event),
            source=sources[event.id],
            affiliate=people.get(event.affiliate_id or 0),
            mails=[_email_view(mail, event, statuses) for mail in mails.get(event.id, [])],
        )
        for event in events
    ]


def source_labels(events: Iterable[Event]) -> dict[int, str]:
    """Say of each event, by its id, where it came from."""
    events = list(events)
    came = [event for event in events if _is_sign_up(event)]
    invited = (
        joined_by_invitation(event.affiliate_id for event in came if event.affiliate_id) if came else set()
    )
    arrivals = {
        event.id: "By your invitation" if event.affiliate_id in invited else "On your sign-up page"
        for event in came
    }
    return {event.id: arrivals.get(event.id) or _SOURCE_LABELS[event.source] for event in events}


def _is_sign_up(event: Event) -> bool:
    return event.source is Source.PORTAL and event.type in (EventType.SIGNED_UP, EventType.APPLIED)


def event_details(event: Event) -> str:
    """Say in half a line what the event was about."""
    told = {name: str(value) for name, value in event.values.items() if value}
    money = _money(told, "amount")
    parts: list[str]
    match event.type:
        case EventType.LEAD:
            parts = [told.get("lead_name", "")]
        case EventType.PURCHASE:
            parts = [_order(told), told.get("product", ""), money, _commission(told)]
        case EventType.COMMISSION_APPROVED | EventType.COMMISSION_DECLINED | EventType.REFUND:
            parts = [_order(told), _commission(told), told.get("reason", "")]
        case EventType.PAYOUT:
            parts = [money, told.get("method", ""), told.get("period", "")]
        case EventType.WEEK_ENDED:
            parts = [f"{told.get('week_start', '')} to {told.get('week_end', '')}"]
        case _:
            parts = [told.get("reason", "")]
    return ", ".join(part for part in parts if part)


def _order(told: Mapping[str, str]) -> str:
    return f"order {told['order']}" if "order" in told else ""


def _money(told: Mapping[str, str], name: str) -> str:
    return f"{told[name]} {told.get('currency', '')}".strip() if name in told else ""


def _commission(told: Mapping[str, str]) -> str:
    money = _money(told, "commission")
    return f"commission {money}" if money else ""


def _email_view(mail: EventMail, event: Event, statuses: Mapping[int, Status]) -> EmailView:
    notice = CATALOGUE.get(mail.kind)
    why, action = NOT_SENT_REASONS.get(mail.decision, ("", ""))
    url = _action_url(mail, event) if action else ""
    return EmailView(
        name=notice.name if notice else mail.kind,
        whom=notice.addressee if notice else "",
        recipient=mail.recipient,
        message_id=mail.message_id if mail.message_id in statuses else None,
        status=statuses.get(mail.message_id or 0),
        why=why,
        action=action if url else "",
        url=url,
    )


def _action_url(mail: EventMail, event: Event) -> str:
    """Return where the owner can do something about an email that was not sent."""
    if mail.decision in (EmailDecision.OFF, EmailDecision.UNRENDERABLE):
        return url_for("notices.show", kind=mail.kind)
    if mail.decision is EmailDecision.SUPPRESSED:
        return url_for("affiliates.suppressions")
    return url_for("affiliates.show", ident=event.affiliate_id) if event.affiliate_id else ""


def _affiliates_by_id(idents: set[int]) -> Mapping[int, Affiliate]:
    query = select(Affiliate).where(Affiliate.id.in_(idents))
    return {row.id: row for row in db.session.scalars(query)}


def _status_by_message(idents: set[int]) -> Mapping[int, Status]:
    query = select(OutboxMessage.id, OutboxMessage.status).where(OutboxMessage.id.in_(idents))
    return {row[0]: row[1] for row in db.session.execute(query)}
