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
from .event_log import mails_of
from .models import Event, EventMail, Why
from .types import NAMES, Occasion, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SOURCES: Mapping[Source, str] = {
    Source.PORTAL: "By you, in this portal",
    Source.API: "Told by your shop",
    Source.PLAYED: "Played by you",
    Source.PLANNER: "By the calendar",
}
# Why there was no email, and what the owner may do about it.
REASONS: Mapping[Why, tuple[str, str]] = {
    Why.OFF: ("This email is switched off.", "Switch it on"),
    Why.OPTED_OUT: ("The affiliate does not want this email.", ""),
    Why.SUPPRESSED: ("This address is not written to.", "See why"),
    Why.NOT_CONFIRMED: ("The affiliate has not confirmed the address yet.", ""),
    Why.DUPLICATE: ("The same email was owed already; nobody gets it twice.", ""),
    Why.SUSPENDED: ("The affiliate is suspended, and is not written to.", "See the affiliate"),
    Why.NOT_ACTIVE: ("The affiliate did not take part in your programme at that time.", "See the affiliate"),
    Why.UNRENDERABLE: ("Your text for this email could not be read.", "Mend the text"),
    Why.NOTHING_TO_TELL: ("There was nothing to tell of that week.", ""),
}


@dataclass(frozen=True)
class Mail:
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
class Told:
    """One event, ready to be shown."""

    event: Event
    name: str
    facts: str
    source: str
    affiliate: Affiliate | None
    mails: list[Mail]


def tell(events: Sequence[Event]) -> list[Told]:
    """Put events into words, with a handful of queries for all of them."""
    mails = mails_of(event.id for event in events)
    people = _people({event.affiliate_id for event in events if event.affiliate_id is not None})
    sources = sources_of(events)
    statuses = _statuses({m.message_id for some in mails.values() for m in some if m.message_id is not None})
    return [
        Told(
            event=event,
            name=NAMES[event.type],
            facts=facts_of(event),
            source=sources[event.id],
            affiliate=people.get(event.affiliate_id or 0),
            mails=[_mail(mail, event, statuses) for mail in mails.get(event.id, [])],
        )
        for event in events
    ]


def sources_of(events: Iterable[Event]) -> dict[int, str]:
    """Say of each event, by its id, where it came from."""
    events = list(events)
    came = [event for event in events if _is_arrival(event)]
    invited = (
        joined_by_invitation(event.affiliate_id for event in came if event.affiliate_id) if came else set()
    )
    arrivals = {
        event.id: "By your invitation" if event.affiliate_id in invited else "On your sign-up page"
        for event in came
    }
    return {event.id: arrivals.get(event.id) or SOURCES[event.source] for event in events}


def _is_arrival(event: Event) -> bool:
    return event.source is Source.PORTAL and event.type in (Occasion.SIGNED_UP, Occasion.APPLIED)


def facts_of(event: Event) -> str:
    """Say in half a line what the event was about."""
    told = {name: str(value) for name, value in event.values.items() if value}
    money = _money(told, "amount")
    parts: list[str]
    match event.type:
        case Occasion.LEAD:
            parts = [told.get("lead_name", "")]
        case Occasion.PURCHASE:
            parts = [_order(told), told.get("product", ""), money, _commission(told)]
        case Occasion.COMMISSION_APPROVED | Occasion.COMMISSION_DECLINED | Occasion.REFUND:
            parts = [_order(told), _commission(told), told.get("reason", "")]
        case Occasion.PAYOUT:
            parts = [money, told.get("method", ""), told.get("period", "")]
        case Occasion.WEEK_ENDED:
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


def _mail(mail: EventMail, event: Event, statuses: Mapping[int, Status]) -> Mail:
    notice = CATALOGUE.get(mail.kind)
    why, action = REASONS.get(mail.decision, ("", ""))
    url = _remedy(mail, event) if action else ""
    return Mail(
        name=notice.name if notice else mail.kind,
        whom=notice.addressee if notice else "",
        recipient=mail.recipient,
        message_id=mail.message_id if mail.message_id in statuses else None,
        status=statuses.get(mail.message_id or 0),
        why=why,
        action=action if url else "",
        url=url,
    )


def _remedy(mail: EventMail, event: Event) -> str:
    """Return where the owner can do something about an email that was not sent."""
    if mail.decision in (Why.OFF, Why.UNRENDERABLE):
        return url_for("notices.show", kind=mail.kind)
    if mail.decision is Why.SUPPRESSED:
        return url_for("affiliates.suppressions")
    return url_for("affiliates.show", ident=event.affiliate_id) if event.affiliate_id else ""


def _people(idents: set[int]) -> Mapping[int, Affiliate]:
    query = select(Affiliate).where(Affiliate.id.in_(idents))
    return {row.id: row for row in db.session.scalars(query)}


def _statuses(idents: set[int]) -> Mapping[int, Status]:
    query = select(OutboxMessage.id, OutboxMessage.status).where(OutboxMessage.id.in_(idents))
    return {row[0]: row[1] for row in db.session.execute(query)}
