"""Ingests events: from the shop, once per idempotency key, or simulated by the owner. One commit per event.

An event of the shop runs in a raw transaction (db/transaction.py): the ORM session would take longer than its statements.
All of them are therefore prepared: here, and in affiliates.directory, money.recording and events.dispatch.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from ..affiliates import directory, erased
from ..affiliates.names import without_addresses
from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import current_dialect, short_transaction
from ..events.models import Event
from ..events.types import Source
from ..money import recording
from ..money.orders import OtherAffiliate, OtherCurrency, Reported
from ..money.recording import Cause
from ..smtp.mailbox import MailboxError, parse_mailbox
from .models import ApiRequest
from .problems import FieldError, Problem, ProblemKind
from .serializers import ingest_json, mails_of, new_mails
from .validation import ValidEvent, validate

if TYPE_CHECKING:
    from datetime import datetime

    from ..affiliates.directory import Participant
    from ..events.dispatch import RecordedEvent

_ANSWER = PreparedStatement(
    update(ApiRequest)
    .where(ApiRequest.id == bindparam("request"))
    .values(event_id=bindparam("event"), statuses=bindparam("found"))
)


@dataclass(frozen=True)
class IngestResult:
    """The response to an event. ``replayed`` is set if the same request was answered before."""

    response: dict[str, Any]
    replayed: bool


def ingest_event(account_id: int, body: Any, *, key: str, now: datetime) -> IngestResult:
    """Record an event of the shop and enqueue its emails. A repeat with the same key and body has no effect. Commits.

    Raises Problem if the event is invalid, its affiliate is unknown, or the key was used for another event.
    """
    valid = validate(body)
    with short_transaction():
        request_id = claim_key(account_id, key, body, now)
        if request_id is not None:
            event_id = _record(account_id, valid, key=f"api:{key}", source=Source.API, now=now).event_id
            mails, statuses = new_mails(account_id, event_id)
            _ANSWER.rowcount(request=request_id, event=event_id, found=statuses)
            response = ingest_json(event_id, valid.shape.event_type, mails, statuses)
            return IngestResult(response, replayed=False)
    return _replay(account_id, key, body)


def simulate_event(account_id: int, body: Any, *, now: datetime) -> int:
    """Record an event that the owner simulates, under the same rules; return its id. Commits. Raises Problem."""
    key = f"played:{secrets.token_hex(12)}"
    event_id = _record(account_id, validate(body), key=key, source=Source.SIMULATED, now=now).event_id
    db.session.commit()
    return event_id


def _fingerprints(body: Any) -> tuple[str, str]:
    """Return hashes of the body's content, independent of white space and the order of members.

    The first one is stored: it is keyed, because a body names people, whose addresses could be tried. The second one was
    stored by releases before, whose requests are kept for 30 days.
    """
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    unkeyed = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    return erased.keyed_hash(f"api request\n{canonical}") or unkeyed, unkeyed


def claim_key(account_id: int, key: str, body: Any, now: datetime) -> int | None:
    """Insert the row of the key; return its id, or None if it exists.

    A concurrent duplicate waits here for the other's commit.
    """
    fingerprint = _fingerprints(body)[0]
    claimed: int | None = _claim(current_dialect()).scalar(
        account=account_id, k=key, fingerprint=fingerprint, now=now
    )
    return claimed


@cache
def _claim(_dialect: str) -> PreparedStatement:
    row: dict[str, Any] = {
        "account_id": bindparam("account"),
        "key": bindparam("k"),
        "fingerprint": bindparam("fingerprint"),
        "statuses": {},
        "created_at": bindparam("now"),
    }
    statement = insert(ApiRequest).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    return PreparedStatement(statement.returning(ApiRequest.__table__.c.id))


def find_request(account_id: int, key: str, body: Any) -> ApiRequest:
    """Return the request that was answered before with this key. Raises Problem if it was another one."""
    query = select(ApiRequest).where(ApiRequest.account_id == account_id, ApiRequest.key == key)
    request = db.session.scalars(query).one()
    if request.fingerprint not in _fingerprints(body):
        detail = "This Idempotency-Key was used before with another body. Nothing was stored."
        raise Problem(ProblemKind.KEY_REUSED, detail)
    return request


def _replay(account_id: int, key: str, body: Any) -> IngestResult:
    request = find_request(account_id, key, body)
    event = db.session.get(Event, request.event_id) if request.event_id else None
    if event is None:
        raise Problem(ProblemKind.NOT_FOUND, "This event was taken in before and has been deleted since.")
    response = ingest_json(event.id, event.type, mails_of(event.id), request.statuses)
    return IngestResult(response, replayed=True)


def _record(account_id: int, event: ValidEvent, *, key: str, source: Source, now: datetime) -> RecordedEvent:
    found = _lock_participant(account_id, event)
    if found is None:
        db.session.rollback()  # frees the key, so that the shop can repeat the request after the affiliate signed up
        raise _unknown_affiliate(event)
    values = event.values
    if "lead_name" in values:  # visitors of the shop type it, and it goes into an email
        values = {**values, "lead_name": without_addresses(values["lead_name"])}
    reported = Reported(event.shape.event_type, values, event.occurred_at, event.notify)
    try:
        return recording.record(found.account, found.affiliate, reported, Cause(source, now, key))
    except OtherCurrency as error:
        message = f"The order was reported in {error.currency} before; write its amounts in {error.currency}."
        raise _conflict("#/data/currency", message) from None
    except OtherAffiliate:
        raise _conflict("#/affiliate", "The order was reported for another affiliate.") from None


def _lock_participant(account_id: int, event: ValidEvent) -> Participant | None:
    """Return the affiliate of an event, locked: an erasure that begins now comes after the event or before it."""
    if event.code:
        return directory.lock_by_code(account_id, event.code)
    if event.external_id:
        return directory.lock_by_external_id(account_id, event.external_id)
    try:
        key = str(parse_mailbox(event.mailbox)).casefold()
    except MailboxError:
        return None  # no affiliate can have signed up with it
    return directory.lock_by_mailbox(account_id, key)


def _conflict(pointer: str, message: str) -> Problem:
    """Return the problem of an event that contradicts the order, and free its key."""
    db.session.rollback()
    return Problem(ProblemKind.INVALID, message, [FieldError(pointer, message)])


def _unknown_affiliate(event: ValidEvent) -> Problem:
    name = "code" if event.code else "external_id" if event.external_id else "email"
    what = {"code": "code", "external_id": "external id", "email": "email address"}[name]
    message = f"No affiliate of this programme has this {what}."
    return Problem(ProblemKind.UNKNOWN_AFFILIATE, message, [FieldError(f"#/affiliate/{name}", message)])
