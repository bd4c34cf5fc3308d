"""Looking events up; nothing here writes."""

from __future__ import annotations

from collections import defaultdict
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
    """What the owner may filter events by."""

    EMAIL = "email"
    NONE = "no-email"


def emails_by_event(event_ids: Iterable[int]) -> Mapping[int, list[EventMail]]:
    """Return for each event the emails it caused, or why not, in the order they were decided."""
    found: dict[int, list[EventMail]] = defaultdict(list)
    query = select(EventMail).where(EventMail.event_id.in_(list(event_ids))).order_by(EventMail.id)
    for mail in db.session.scalars(query):
        found[mail.event_id].append(mail)
    return found


def find_by_message(message_id: int) -> Event | None:
    """Return the event that caused a message of the outbox."""
    query = select(Event).join(EventMail, EventMail.event_id == Event.id)
    return db.session.scalars(query.where(EventMail.message_id == message_id).limit(1)).first()


def list_events(
    account_id: int,
    *,
    affiliate_id: int | None = None,
    occasion: EventType | None = None,
    outcome: EmailFilter | None = None,
    before: int | None = None,
    after: int | None = None,
) -> Page[Any]:
    """Return one page of the account's events, newest first."""
    query = select(Event).where(Event.account_id == account_id)
    if affiliate_id is not None:
        query = query.where(Event.affiliate_id == affiliate_id)
    if occasion is not None:
        query = query.where(Event.type == occasion)
    if outcome is not None:
        caused = exists().where(EventMail.event_id == Event.id)
        owed = (
            EventMail.decision == EmailDecision.QUEUED
            if outcome is EmailFilter.EMAIL
            else EventMail.decision != EmailDecision.QUEUED
        )
        query = query.where(caused.where(owed))
    return newest_first(query, Event.id, before=before, after=after)


def newest_events(affiliate_id: int, occasions: Iterable[EventType], count: int) -> Sequence[Event]:
    """Return the newest events of an affiliate, of these occasions; what was only played is left out."""
    query = select(Event).where(
        Event.affiliate_id == affiliate_id,
        Event.type.in_(list(occasions)),
        Event.source != Source.SIMULATED,
    )
    return db.session.scalars(query.order_by(Event.id.desc()).limit(count)).all()
