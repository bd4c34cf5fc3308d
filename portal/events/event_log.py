"""Queries for events and their emails. Nothing in this module writes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select

from ..db import db
from ..web.pagination import Page, newest_first
from .models import EmailDecision, Event, EventMail
from .types import EventType, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class EmailFilter(StrEnum):
    """Filter events by whether an email was queued."""

    EMAIL = "email"
    NONE = "no-email"


@dataclass(frozen=True)
class EventFilters:
    """Which events to list; None lists all."""

    affiliate_id: int | None = None
    type: EventType | None = None
    email: EmailFilter | None = None


_ALL = EventFilters()


def emails_by_event(event_ids: Iterable[int]) -> Mapping[int, list[EventMail]]:
    """Return the emails of each event, sent or not, in the order of the decisions."""
    found: dict[int, list[EventMail]] = defaultdict(list)
    query = select(EventMail).where(EventMail.event_id.in_(list(event_ids))).order_by(EventMail.id)
    for mail in db.session.scalars(query):
        found[mail.event_id].append(mail)
    return found


def find_by_message(message_id: int) -> Event | None:
    """Return the event of a message in the outbox; None for a digest, which has several."""
    query = select(Event).join(EventMail, EventMail.event_id == Event.id)
    query = query.where(EventMail.message_id == message_id, EventMail.decision != EmailDecision.IN_DIGEST)
    return db.session.scalars(query.limit(1)).first()


def list_events(
    account_id: int, filters: EventFilters = _ALL, *, before: int | None = None, after: int | None = None
) -> Page[Any]:
    """Return one page of the account's events, newest first."""
    query = select(Event).where(Event.account_id == account_id)
    if filters.affiliate_id is not None:
        query = query.where(Event.affiliate_id == filters.affiliate_id)
    if filters.type is not None:
        query = query.where(Event.type == filters.type)
    if filters.email is not None:
        is_queued = (EventMail.decision == EmailDecision.QUEUED) | (
            (EventMail.decision == EmailDecision.IN_DIGEST) & EventMail.message_id.is_not(None)
        )
        matches = is_queued if filters.email is EmailFilter.EMAIL else ~is_queued
        query = query.where(exists().where(EventMail.event_id == Event.id, matches))
    return newest_first(query, Event.id, before=before, after=after)


def newest_events(affiliate_id: int, types: Iterable[EventType], count: int) -> Sequence[Event]:
    """Return the newest events of an affiliate of these types, without simulated ones and orders reported again."""
    query = select(Event).where(
        Event.affiliate_id == affiliate_id,
        Event.type.in_(list(types)),
        Event.source != Source.SIMULATED,
        ~exists().where(EventMail.event_id == Event.id, EventMail.decision == EmailDecision.SAME_ORDER),
    )
    return db.session.scalars(query.order_by(Event.id.desc()).limit(count)).all()
