"""What the interface tells: an event, the emails it caused, and where a message stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..affiliates.models import Affiliate
from ..db import db
from ..deliveries import message_log, message_page
from ..events import event_log
from ..events.models import Event, EventMail
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..outbox.queue import find_queue
from ..smtp.protocol.reply import plain_text
from ..web.labels import reply_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

Json = dict[str, Any]


def statuses_of(event: Event) -> dict[str, str]:
    """Return where each message of an event stands, by the message's id as JSON can hold it."""
    idents = [mail.message_id for mail in _mails(event) if mail.message_id is not None]
    query = select(OutboxMessage.id, OutboxMessage.status).where(
        OutboxMessage.account_id == event.account_id, OutboxMessage.id.in_(idents)
    )
    return {str(row[0]): Status(row[1]).value for row in db.session.execute(query)}


def caused_answer(event: Event, statuses: Mapping[str, str]) -> Json:
    """Return the answer to an event that was sent."""
    return {"id": event.id, "event": _name(event), "mails": _told_mails(_mails(event), statuses)}


def event_of(account_id: int, event_id: int) -> Event | None:
    """Return an event of this account; somebody else's is not found."""
    return db.session.scalar(select(Event).where(Event.id == event_id, Event.account_id == account_id))


def event(account_id: int, event_id: int) -> Json | None:
    """Return an event and where its emails stand now."""
    found = event_of(account_id, event_id)
    if found is None:
        return None
    affiliate = db.session.get(Affiliate, found.affiliate_id) if found.affiliate_id else None
    return {
        "id": found.id,
        "event": _name(found),
        "source": found.source.value,
        "affiliate": {"code": affiliate.code} if affiliate else None,
        "data": {name: str(value) for name, value in found.values.items()},
        "created_at": _moment(found.created_at),
        "mails": _told_mails(_mails(found), statuses_of(found)),
    }


def message(account_id: int, message_id: int) -> Json | None:
    """Return where a message stands, in the words of the pages, and every attempt at it."""
    row = message_log.get_message(account_id, message_id)
    if row is None:
        return None
    attempts = message_log.attempts_of(row)
    cause = event_log.find_by_message(row.id)
    return {
        "id": row.id,
        "event": cause.id if cause else None,
        "kind": row.kind,
        "recipient": row.recipient,
        "subject": row.subject,
        "status": row.status.value,
        "explanation": message_page.describe(row, attempts, find_queue(account_id)).sentence,
        "created_at": _moment(row.created_at),
        "settled_at": _moment(row.settled_at),
        "attempts": [_attempt(one) for one in attempts],
    }


def _mails(event: Event) -> list[EventMail]:
    return event_log.emails_by_event([event.id]).get(event.id, [])


def _told_mails(mails: Iterable[EventMail], statuses: Mapping[str, str]) -> list[Json]:
    return [_mail(mail, statuses.get(str(mail.message_id), "")) for mail in mails]


def _mail(mail: EventMail, status: str) -> Json:
    told = {"kind": mail.kind, "recipient": mail.recipient}
    if mail.decision or mail.message_id is None:
        return told | {"why": mail.decision.value}
    # The log of messages is pruned sooner than what happened; then nobody knows any more.
    return told | {"message": mail.message_id, "status": status or None}


def _attempt(attempt: DeliveryAttempt) -> Json:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome.value,
        "started_at": _moment(attempt.started_at),
        "ended_at": _moment(attempt.ended_at),
        "server": attempt.server,
        "stage": attempt.stage,
        "reply_code": attempt.reply_code,
        "enhanced_code": plain_text(attempt.enhanced_code),
        "reply": reply_line(None, "", attempt.reply_text),
        "queue_id": plain_text(attempt.queue_id),
    }


def _name(event: Event) -> str:
    return event.type.value.replace("-", "_")


def _moment(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None
