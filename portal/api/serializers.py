"""JSON of the API's responses: an event, the emails it caused, and the status of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import and_, bindparam, select

from ..accounts.models import Account
from ..affiliates.directory import find_by_code
from ..affiliates.links import public_url
from ..affiliates.models import Affiliate
from ..amounts import from_units, plain_number
from ..bounces import outcomes
from ..db import db
from ..db.prepared import PreparedStatement
from ..deliveries import message_log, message_page
from ..events import event_log
from ..events.models import EmailDecision, Event, EventMail
from ..money import balances, listing
from ..outbox.models import DeliveryAttempt, OutboxMessage, Status
from ..outbox.queue import find_queue
from ..smtp.protocol.reply import plain_text
from ..state import current_config
from ..web.labels import reply_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from ..events.types import EventType
    from ..money.models import Commission

Json = dict[str, Any]
_NEW_MAILS = PreparedStatement(
    select(
        EventMail.kind, EventMail.recipient, EventMail.decision, EventMail.message_id, OutboxMessage.status
    )
    .outerjoin_from(
        EventMail,
        OutboxMessage,
        and_(OutboxMessage.id == EventMail.message_id, OutboxMessage.account_id == bindparam("account")),
    )
    .where(EventMail.event_id == bindparam("event"))
    .order_by(EventMail.id)
)


class EmailOfEvent(Protocol):
    """An email of an event, sent or not."""

    @property
    def kind(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def decision(self) -> EmailDecision: ...
    @property
    def message_id(self) -> int | None: ...


class _NewMail(NamedTuple):
    kind: str
    recipient: str
    decision: EmailDecision
    message_id: int | None


def message_statuses(event: Event) -> dict[str, str]:
    """Return the status of each message of an event, by message id; a string, because it is a key in JSON."""
    message_ids = [mail.message_id for mail in mails_of(event.id) if mail.message_id is not None]
    query = select(OutboxMessage.id, OutboxMessage.status).where(
        OutboxMessage.account_id == event.account_id, OutboxMessage.id.in_(message_ids)
    )
    return {str(row[0]): Status(row[1]).value for row in db.session.execute(query)}


def new_mails(account_id: int, event_id: int) -> tuple[Sequence[EmailOfEvent], dict[str, str]]:
    """Return the emails of an event that was just recorded, and the statuses of their messages as ``message_statuses``."""
    rows = _NEW_MAILS.all(account=account_id, event=event_id)
    mails = [_NewMail(*row[:-1]) for row in rows]
    return mails, {str(row[-2]): row[-1].value for row in rows if row[-1] is not None}


def ingest_json(
    event_id: int, type_: EventType, mails: Sequence[EmailOfEvent], statuses: Mapping[str, str]
) -> Json:
    """Return the response to an ingested event."""
    return {"id": event_id, "event": _event_name(type_), "mails": _mails_json(mails, statuses)}


def find_event(account_id: int, event_id: int) -> Event | None:
    """Return an event of this account, or None if there is none or it belongs to another account."""
    return db.session.scalar(select(Event).where(Event.id == event_id, Event.account_id == account_id))


def event_json(account_id: int, event_id: int) -> Json | None:
    """Return an event with the present status of its emails, or None."""
    found = find_event(account_id, event_id)
    if found is None:
        return None
    affiliate = db.session.get(Affiliate, found.affiliate_id) if found.affiliate_id else None
    return {
        "id": found.id,
        "event": _event_name(found.type),
        "source": found.source.value,
        "affiliate": _affiliate_json(affiliate) if affiliate else None,
        "data": {name: str(value) for name, value in found.values.items()},
        "created_at": timestamp(found.created_at),
        "mails": _mails_json(mails_of(found.id), message_statuses(found)),
    }


def _affiliate_json(affiliate: Affiliate) -> Json:
    """Return the code and the link of an affiliate; the link is null while there is no shop address."""
    account = db.session.get_one(Account, affiliate.account_id)
    return {"code": affiliate.code, "link": public_url(affiliate, account, current_config()) or None}


def message_json(account_id: int, message_id: int) -> Json | None:
    """Return the status of a message, with the explanation that the pages show and all attempts, or None."""
    row = message_log.get_message(account_id, message_id)
    if row is None:
        return None
    attempts = message_log.attempts_of(row)
    cause, outcome = event_log.find_by_message(row.id), outcomes.find(row.id)
    return {
        "id": row.id,
        "event": cause.id if cause else None,
        "kind": row.kind,
        "recipient": row.recipient,
        "subject": row.subject,
        "status": row.status.value,
        "outcome": outcome.meaning.value if outcome is not None else None,
        "explanation": message_page.describe(row, attempts, find_queue(account_id), outcome).sentence,
        "created_at": timestamp(row.created_at),
        "settled_at": timestamp(row.settled_at),
        "attempts": [_attempt_json(one) for one in attempts],
    }


def balance_json(account_id: int, code: str) -> Json | None:
    """Return the balances of an affiliate, one for each currency, or None if no affiliate has this code."""
    affiliate = find_by_code(account_id, code)
    if affiliate is None:
        return None
    return {
        "affiliate": {"code": affiliate.code},
        "balances": [
            {"currency": one.currency}
            | {
                name: plain_number(getattr(one, name), one.currency)
                for name in ("pending", "approved", "paid")
            }
            for one in balances.balances_of(affiliate.id)
        ],
    }


def commissions_json(account_id: int, order: str) -> Json:
    """Return the commissions of an order: what is left of each after refunds and declines."""
    rows = listing.of_order(account_id, order)
    codes = {one.row.id: one.affiliate.code for one in listing.describe(rows) if one.affiliate}
    return {"commissions": [_commission_json(row, codes[row.id]) for row in rows]}


def _commission_json(row: Commission, code: str) -> Json:
    def number(units: int) -> str:
        return plain_number(from_units(units), row.currency)

    return {
        "order": row.order_ref,
        "affiliate": {"code": code},
        "state": row.state.value,
        "currency": row.currency,
        "amount": number(row.amount),
        "commission": number(row.earned),
        "refunded": number(row.shown_refund),
        "left": number(row.remaining),
        "paid": number(row.paid),
        "reason": row.reason,
        "occurred_at": timestamp(row.occurred_at),
        "decided_at": timestamp(row.decided_at),
    }


def mails_of(event_id: int) -> Sequence[EmailOfEvent]:
    """Return the emails of an event, sent or not."""
    return event_log.emails_by_event([event_id]).get(event_id, [])


def _mails_json(mails: Iterable[EmailOfEvent], statuses: Mapping[str, str]) -> list[Json]:
    return [_mail_json(mail, statuses.get(str(mail.message_id), "")) for mail in mails]


def _mail_json(mail: EmailOfEvent, status: str) -> Json:
    members = {"kind": mail.kind, "recipient": mail.recipient}
    was_collected = mail.decision is EmailDecision.IN_DIGEST and bool(status)
    if (mail.decision and not was_collected) or mail.message_id is None:
        return members | {"why": mail.decision.value}
    # The delivery log is deleted earlier than events; the status is unknown from then on.
    return members | {"message": mail.message_id, "status": status or None}


def _attempt_json(attempt: DeliveryAttempt) -> Json:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome.value,
        "started_at": timestamp(attempt.started_at),
        "ended_at": timestamp(attempt.ended_at),
        "server": attempt.server,
        "stage": attempt.stage,
        "reply_code": attempt.reply_code,
        "enhanced_code": plain_text(attempt.enhanced_code),
        "reply": reply_line(None, "", attempt.reply_text),
        "queue_id": plain_text(attempt.queue_id),
    }


def _event_name(type_: EventType) -> str:
    return type_.value.replace("-", "_")


def timestamp(at: datetime | None) -> str | None:
    """Return a time as responses state it (RFC 3339, UTC)."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None
