"""What is stored about one affiliate, as a JSON file for the affiliate (GDPR articles 15 and 20).

The parts with many rows are read and written in batches, so the size of the file does not matter.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..affiliates import codes, suppressions
from ..affiliates.consent import version_of
from ..affiliates.directory import find_by_dashboard_key
from ..affiliates.links import public_url, redact_tokens
from ..amounts import from_units, plain_number
from ..clock import utcnow
from ..db import db
from ..deliveries.models import LogRow
from ..enrolment.changing import address_change
from ..events.models import Event
from ..events.types import Source
from ..money import balances
from ..money.models import Commission
from ..outbox.models import OutboxMessage
from ..programme.models import VisitCount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..accounts.models import Account
    from ..affiliates.models import Affiliate
    from ..config import Config

_BATCH = 200


def find(key: str) -> tuple[Affiliate, Account] | None:
    """Return the affiliate with this dashboard key."""
    return find_by_dashboard_key(key)


def stream(affiliate: Affiliate, account: Account, config: Config) -> Iterator[str]:
    """Yield the file in parts: one object with ``programme``, ``you`` and lists of what happened."""
    id_, account_id, mailbox = affiliate.id, affiliate.account_id, affiliate.mailbox
    yield '{"programme": ' + _json(account.name) + ',\n"you": ' + _json(_facts(affiliate, account, config))
    parts = (
        ("events", _events(id_)),
        ("orders", _orders(id_)),
        ("visits", _visits(id_)),
        ("emails", _emails(account_id, mailbox)),
    )
    for name, rows in parts:
        yield f',\n"{name}": ['
        for number, row in enumerate(rows):
            yield (",\n" if number else "\n") + _json(row)
        yield "]"
    yield "}\n"


def _facts(affiliate: Affiliate, account: Account, config: Config) -> dict[str, Any]:
    suppression = suppressions.find_suppression(affiliate.account_id, affiliate.mailbox)
    waiting = address_change.pending(affiliate.id, now=utcnow())
    return {
        "name": affiliate.name,
        "email": affiliate.mailbox,
        "code": affiliate.code,
        "codes_before": codes.former_codes(affiliate.id),
        "link": public_url(affiliate, account, config) or None,
        "status": affiliate.state.value,
        "language": affiliate.language or None,
        "website": affiliate.website or None,
        "id_in_the_shop": affiliate.external_id,
        "new_email_to_be_confirmed": waiting.mailbox if waiting else None,
        "signed_up": affiliate.created_at,
        "agreed_to_emails": affiliate.consented_at,
        "agreed_how": affiliate.consent_way.value or None,
        "agreed_from_network": affiliate.consent_network or None,
        "source_of_the_consent": affiliate.consent_source or None,
        "words_agreed_to": affiliate.consent_words or None,
        "version_of_the_words": version_of(affiliate.consent_words) or None,
        "address_confirmed": affiliate.confirmed_at,
        "confirmed_from_network": affiliate.confirmed_network or None,
        "asked_to_be_erased": affiliate.erasure_asked_at,
        "emails_not_wanted": sorted(suppressions.opted_out(affiliate.id)),
        "not_written_to_because": suppression.reason.value if suppression else None,
        "balance": [
            {name: plain_number(getattr(one, name), one.currency) for name in ("pending", "approved", "paid")}
            | {"currency": one.currency}
            for one in balances.balances_of(affiliate.id)
        ],
    }


def _events(affiliate_id: int) -> Iterator[dict[str, Any]]:
    for row in _all(Event, Event.id, Event.affiliate_id == affiliate_id, Event.source != Source.SIMULATED):
        yield {"what": row.type.value, "when": row.created_at, "details": row.values}


def _orders(affiliate_id: int) -> Iterator[dict[str, Any]]:
    for row in _all(Commission, Commission.id, Commission.affiliate_id == affiliate_id):
        amounts = {name: getattr(row, name) for name in ("amount", "earned", "refunded", "remaining", "paid")}
        yield {
            "order": row.order_ref,
            "when": row.occurred_at,
            "state": row.state.value,
            "reason": row.reason or None,
            "currency": row.currency,
            **{name: plain_number(from_units(units), row.currency) for name, units in amounts.items()},
        }


def _visits(affiliate_id: int) -> Iterator[dict[str, Any]]:
    row = VisitCount
    query = select(row.day, row.visits, row.visitors).where(row.affiliate_id == affiliate_id)
    for one in db.session.execute(query.order_by(row.day)):
        yield {"day": one.day, "visits": one.visits, "visitors": one.visitors}


def _emails(account_id: int, mailbox: str) -> Iterator[dict[str, Any]]:
    conditions = (LogRow.account_id == account_id, LogRow.recipient == mailbox.lower())
    last = 0
    while ids := list(
        db.session.scalars(
            select(LogRow.message_id)
            .where(*conditions, LogRow.message_id > last)
            .order_by(LogRow.message_id)
            .limit(_BATCH)
        )
    ):
        query = select(OutboxMessage).where(OutboxMessage.id.in_(ids)).order_by(OutboxMessage.id)
        for row in db.session.scalars(query):
            yield {
                "kind": row.kind,
                "when": row.created_at,
                "status": row.status.value,
                "subject": row.subject,
                "text": redact_tokens(row.kind, row.text) or None,
            }
        last = ids[-1]
        db.session.expunge_all()


def _all(table: Any, id_: Any, *conditions: Any) -> Iterator[Any]:
    last = 0
    while rows := list(
        db.session.scalars(select(table).where(*conditions, id_ > last).order_by(id_).limit(_BATCH))
    ):
        last = rows[-1].id
        yield from rows
        db.session.expunge_all()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
