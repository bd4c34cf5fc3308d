"""Looking events up; nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import select

from ..db import db
from .models import Event, EventMail


def mails_of(event_ids: Iterable[int]) -> Mapping[int, list[EventMail]]:
    """Return for each event the emails it caused, or why not, in the order they were decided."""
    found: dict[int, list[EventMail]] = defaultdict(list)
    query = select(EventMail).where(EventMail.event_id.in_(list(event_ids))).order_by(EventMail.id)
    for mail in db.session.scalars(query):
        found[mail.event_id].append(mail)
    return found


def event_of_message(message_id: int) -> Event | None:
    """Return the event that caused a message of the outbox."""
    query = select(Event).join(EventMail, EventMail.event_id == Event.id)
    return db.session.scalars(query.where(EventMail.message_id == message_id).limit(1)).first()
