"""Ingests events: from the shop, once per idempotency key, or simulated by the owner. One commit per event."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account
from ..affiliates import directory, erased
from ..affiliates.names import without_addresses
from ..db import db, insert
from ..events.models import Event
from ..events.types import Source
from ..money import recording
from ..money.orders import OtherAffiliate, OtherCurrency, Reported
from ..money.recording import Cause
from ..smtp.mailbox import MailboxError, parse_mailbox
from .models import ApiRequest
from .problems import FieldError, Problem, ProblemKind
from .serializers import ingest_json, message_statuses
from .validation import ValidEvent, validate

if TYPE_CHECKING:
    from datetime import datetime

    from ..affiliates.models import Affiliate


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
    request = claim_key(account_id, key, body, now)
    if request is None:
        return _replay(account_id, key, body)
    event = _record(account_id, valid, key=f"api:{key}", source=Source.API, now=now)
    request.event_id = event.id
    request.statuses = message_statuses(event)
    response = ingest_json(event, request.statuses)
    db.session.commit()
    return IngestResult(response, replayed=False)


def simulate_event(account_id: int, body: Any, *, now: datetime) -> int:
    """Record an event that the owner simulates, under the same rules; return its id. Commits. Raises Problem."""
    event = _record(
        account_id, validate(body), key=f"played:{secrets.token_hex(12)}", source=Source.SIMULATED, now=now
    )
    id_ = event.id
    db.session.commit()
    return id_


def _fingerprints(body: Any) -> tuple[str, str]:
    """Return hashes of the body's content, independent of white space and the order of members.

    The first one is stored: it is keyed, because a body names people, whose addresses could be tried. The second one was
    stored by releases before, whose requests are kept for 30 days.
    """
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    unkeyed = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    return erased.keyed_hash(f"api request\n{canonical}") or unkeyed, unkeyed


def claim_key(account_id: int, key: str, body: Any, now: datetime) -> ApiRequest | None:
    """Insert the row of the key; return None if it exists. A concurrent duplicate waits here for the other's commit."""
    row = {
        "account_id": account_id,
        "key": key,
        "fingerprint": _fingerprints(body)[0],
        "statuses": {},
        "created_at": now,
    }
    statement = insert(ApiRequest).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    id_ = db.session.execute(statement.returning(ApiRequest.id)).scalar_one_or_none()
    return db.session.get_one(ApiRequest, id_) if id_ is not None else None


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
    return IngestResult(ingest_json(event, request.statuses), replayed=True)


def _record(account_id: int, event: ValidEvent, *, key: str, source: Source, now: datetime) -> Event:
    account = db.session.get_one(Account, account_id)
    affiliate = _find_affiliate(account_id, event)
    if affiliate is None:
        db.session.rollback()  # frees the key, so that the shop can repeat the request after the affiliate signed up
        raise _unknown_affiliate(event)
    values = event.values
    if "lead_name" in values:  # visitors of the shop type it, and it goes into an email
        values = {**values, "lead_name": without_addresses(values["lead_name"])}
    reported = Reported(event.shape.event_type, values, event.occurred_at, event.notify)
    try:
        return recording.record(account, affiliate, reported, Cause(source, now, key)).event
    except OtherCurrency as error:
        message = f"The order was reported in {error.currency} before; write its amounts in {error.currency}."
        raise _conflict("#/data/currency", message) from None
    except OtherAffiliate:
        raise _conflict("#/affiliate", "The order was reported for another affiliate.") from None


def _find_affiliate(account_id: int, event: ValidEvent) -> Affiliate | None:
    """Return the affiliate of an event, locked: an erasure that begins now comes after the event or before it."""
    found = _look_up(account_id, event)
    return next(iter(directory.keep([found])), None) if found is not None else None


def _look_up(account_id: int, event: ValidEvent) -> Affiliate | None:
    if event.code:
        return directory.find_by_code(account_id, event.code)
    if event.external_id:
        return directory.find_by_external_id(account_id, event.external_id)
    try:
        key = str(parse_mailbox(event.mailbox)).casefold()
    except MailboxError:
        return None  # no affiliate can have signed up with it
    return directory.find_by_mailbox(account_id, key)


def _conflict(pointer: str, message: str) -> Problem:
    """Return the problem of an event that contradicts the order, and free its key."""
    db.session.rollback()
    return Problem(ProblemKind.INVALID, message, [FieldError(pointer, message)])


def _unknown_affiliate(event: ValidEvent) -> Problem:
    name = "code" if event.code else "external_id" if event.external_id else "email"
    what = {"code": "code", "external_id": "external id", "email": "email address"}[name]
    message = f"No affiliate of this programme has this {what}."
    return Problem(ProblemKind.UNKNOWN_AFFILIATE, message, [FieldError(f"#/affiliate/{name}", message)])
