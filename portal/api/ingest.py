"""Taking an event in: from the shop, once per key, or played by the owner; one commit each."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..accounts.models import Account
from ..affiliates.models import Affiliate
from ..db import db, insert
from ..events.dispatch import NewEvent, record_event
from ..events.models import Event
from ..events.types import Source
from ..smtp.mailbox import MailboxError, parse_mailbox
from .models import ApiRequest
from .problems import FieldError, Kind, Problem
from .serializers import caused_answer, statuses_of
from .validation import Judged, judge

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Received:
    """The answer to an event, and whether it was given before."""

    answer: dict[str, Any]
    replayed: bool


def receive(account_id: int, body: Any, *, key: str, now: datetime) -> Received:
    """Write an event of the shop down and owe its emails. The same key and body again change nothing.

    Raises Problem: the event is wrong, its affiliate is unknown, or the key belongs to another event.
    """
    judged = judge(body)
    print_ = _fingerprint(body)
    request = _begin(account_id, key, print_, now)
    if request is None:
        return _again(account_id, key, print_)
    event = _write_down(account_id, judged, key=f"api:{key}", source=Source.API, now=now)
    request.event_id = event.id
    request.statuses = statuses_of(event)
    answer = caused_answer(event, request.statuses)
    db.session.commit()
    return Received(answer, replayed=False)


def play(account_id: int, body: Any, *, now: datetime) -> int:
    """Take an event in that the owner plays, by the same rules; return its id. Raises Problem."""
    event = _write_down(
        account_id, judge(body), key=f"played:{secrets.token_hex(12)}", source=Source.SIMULATED, now=now
    )
    ident = event.id
    db.session.commit()
    return ident


def _fingerprint(body: Any) -> str:
    """Tell bodies apart by what they say, not by how they are spaced."""
    written = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(written.encode("utf-8")).hexdigest()


def _begin(account_id: int, key: str, fingerprint: str, now: datetime) -> ApiRequest | None:
    """Take the key. A twin that arrives at this moment waits here until this one is committed, then finds it taken."""
    row = {
        "account_id": account_id,
        "key": key,
        "fingerprint": fingerprint,
        "statuses": {},
        "created_at": now,
    }
    statement = insert(ApiRequest).values(row).on_conflict_do_nothing(index_elements=["account_id", "key"])
    ident = db.session.execute(statement.returning(ApiRequest.id)).scalar_one_or_none()
    return db.session.get_one(ApiRequest, ident) if ident is not None else None


def _again(account_id: int, key: str, fingerprint: str) -> Received:
    query = select(ApiRequest).where(ApiRequest.account_id == account_id, ApiRequest.key == key)
    request = db.session.scalars(query).one()
    event = db.session.get(Event, request.event_id)
    if request.fingerprint != fingerprint:
        detail = "This Idempotency-Key came before with another body. Nothing was written down."
        raise Problem(Kind.KEY_REUSED, detail)
    if event is None:
        raise Problem(Kind.NOT_FOUND, "This event was taken in before and has been deleted since.")
    return Received(caused_answer(event, request.statuses), replayed=True)


def _write_down(account_id: int, judged: Judged, *, key: str, source: Source, now: datetime) -> Event:
    account = db.session.get_one(Account, account_id)
    affiliate = _affiliate(account_id, judged)
    if affiliate is None:
        db.session.rollback()  # the key is free again: the affiliate may sign up, and the shop try once more
        raise _unknown(judged)
    new = NewEvent(account, judged.shape.occasion, affiliate, judged.values)
    return record_event(new, key=key, source=source, now=now).event


def _affiliate(account_id: int, judged: Judged) -> Affiliate | None:
    query = select(Affiliate).where(Affiliate.account_id == account_id)
    if judged.code:
        found = list(db.session.scalars(query.where(Affiliate.code.in_({judged.code, judged.code.upper()}))))
        return min(found, key=lambda row: row.code != judged.code, default=None)
    try:
        key = str(parse_mailbox(judged.mailbox)).casefold()
    except MailboxError:
        return None  # nobody can have signed up with it
    return db.session.scalar(query.where(Affiliate.mailbox_key == key))


def _unknown(judged: Judged) -> Problem:
    name = "code" if judged.code else "email"
    told = f"No affiliate of this programme has this {'code' if judged.code else 'email address'}."
    return Problem(Kind.UNKNOWN_AFFILIATE, told, [FieldError(f"#/affiliate/{name}", told)])
