"""Claims and settlements: who may send a message now, and what came of it.

A claim is a lease with a token. The intent to send is recorded before the first byte, and a settlement counts
only while its token is the row's, so a worker frozen past its lease changes nothing when it wakes. Nothing
here commits: one transaction carries the result of one message, the intent to send the next, and the renewal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Executable, Table, and_, bindparam, func, insert, select, update

from ..db import db, moment, present_connection
from . import due, slots
from .compose import AccountMessage, from_header, new_message_id
from .due import due_queues
from .models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from .queue import SYSTEM
from .route import Route
from .swift import Swift

__all__ = ["Claim", "Parcel", "claim_batch", "claim_one", "due_queues", "give_back", "intend", "settle"]

_MESSAGE: Table = OutboxMessage.__table__  # type: ignore[assignment]
_ATTEMPT: Table = DeliveryAttempt.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class Parcel:
    """A message as it stands in the table, free of any transaction."""

    id: int
    account_id: int | None
    kind: str
    key: str
    message_id: str | None
    recipient: str
    recipient_name: str
    subject: str
    text: str
    html: str
    private: bool
    urgent: bool
    unsubscribe_url: str
    pinned_version: int | None
    attempts: int
    status: str
    lease_token: str | None


_COLUMNS = ", ".join(f"m.{name}" for name in Parcel.__dataclass_fields__)


@dataclass
class Claim:
    """The right to try one message. ``attempt_id`` is that of the intent, once it is recorded."""

    message: Parcel
    token: str
    first: bool = False  # of its batch: what stopped the queue is looked at again
    attempt_id: int = 0
    written: tuple[Route, AccountMessage] | None = None  # as it leaves, once it was put together
    waits: bool = False  # another server may hold it: through this one it could arrive twice

    @property
    def tries(self) -> int:
        """How many tries count against the message, this one included."""
        return self.message.attempts + 1


def claim_batch(queue: Queue, token: str, route: Route | None, *, limit: int, now: datetime) -> list[Claim]:
    """Claim what may leave next of a queue whose row is locked, at most ``limit`` messages."""
    if queue.width == 0:
        limit = 1  # after trouble one message finds out whether it is over
    rows: list[Parcel] = []
    probing = queue.held_at is not None
    for found in due.candidates(queue, _COLUMNS, limit, now=now):
        parcels = [Parcel(*row) for row in found[: limit - len(rows)]]
        if probing and any(not one.urgent and one.status != Status.SENDING for one in parcels):
            queue.probe_at = now + slots.lease()  # one probe at a time, whatever becomes of this one
        rows += [one for one in parcels if one.id not in {other.id for other in rows}]
        if len(rows) >= limit:
            break
    return _claim(rows, token, route, now=now)


def claim_one(message_id: int) -> Claim | None:
    """Claim one message by its id, as a check of settings does; None when it is settled or taken. Commits."""
    now = moment()
    query = select(*[_MESSAGE.c[name] for name in Parcel.__dataclass_fields__], _MESSAGE.c.lease_until)
    row = db.session.execute(query.where(_MESSAGE.c.id == message_id).with_for_update()).one_or_none()
    over = row is not None and row.status is Status.SENDING and _is_over(row.lease_until, now)
    if row is None or not (row.status is Status.QUEUED or over):
        db.session.rollback()
        return None
    (claim,) = _claim([Parcel(*row[:-1])], slots.new_token(), None, now=now)
    db.session.commit()
    return claim


def _is_over(until: datetime | None, now: datetime) -> bool:
    return until is None or until <= now or until > now + 2 * slots.lease()


def _claim(rows: Sequence[Parcel], token: str, route: Route | None, *, now: datetime) -> list[Claim]:
    if not rows:
        return []
    lost = [row for row in rows if row.status == Status.SENDING]
    again = _interrupted(lost, now) if lost else {}
    claims = []
    for row in rows:
        tried = row.attempts + again.get(row.id, 0)
        parcel = replace(row, message_id=_header_id(row, route), attempts=tried)
        waits = bool(tried) and route is not None and _may_be_elsewhere(row.id, route)
        claims.append(Claim(parcel, token, first=row is rows[0], waits=waits))
    until = now + slots.lease()
    values = [{"i": one.message.id, "m": one.message.message_id, "t": token, "u": until} for one in claims]
    present_connection().execute(_claiming(), values)
    return claims


@cache
def _claiming() -> Executable:
    return (
        update(_MESSAGE)
        .where(_MESSAGE.c.id == bindparam("i"))
        .values(
            status=Status.SENDING,
            message_id=bindparam("m"),
            lease_token=bindparam("t"),
            lease_until=bindparam("u"),
        )
    )


def _interrupted(rows: Sequence[Parcel], now: datetime) -> dict[int, int]:
    """Mark attempts that never ended: their worker died, and the server may hold the message."""
    counted: dict[int, int] = {}
    for row in rows:
        if slots.before_a_power_cut(row.lease_token):
            _suspect(row.id, now)
        ended = db.session.execute(
            update(_ATTEMPT)
            .where(_ATTEMPT.c.message_id == row.id, _ATTEMPT.c.outcome == Outcome.STARTED)
            .values(outcome=Outcome.INTERRUPTED, ambiguous=True, ended_at=now)
        )
        if ended.rowcount:  # type: ignore[attr-defined]
            counted[row.id] = 1
            db.session.execute(
                update(_MESSAGE).where(_MESSAGE.c.id == row.id).values(attempts=_MESSAGE.c.attempts + 1)
            )
    return counted


def _suspect(message_id: int, now: datetime) -> None:
    """Say that a claimed message may have been begun, where a power cut may have taken the intent itself."""
    begun = select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.outcome == Outcome.STARTED
    )
    if db.session.scalar(begun.limit(1)) is None:
        _record_attempt(message_id, now)


def _header_id(row: Parcel, route: Route | None) -> str | None:
    """Return the Message-ID: the one it has, unless it is another domain's and no server may hold it."""
    if route is None:
        return row.message_id
    at_home = bool(row.message_id) and str(row.message_id).endswith(f"@{route.domain}>")
    if row.message_id and (at_home or _may_have_arrived(row.id)):
        return row.message_id
    return new_message_id(route)


def _may_have_arrived(message_id: int) -> bool:
    """Whether a server may hold the message already: then its twin has to carry the same Message-ID."""
    query = select(_ATTEMPT.c.id).where(_ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous)
    return db.session.scalar(query.limit(1)) is not None


def _may_be_elsewhere(message_id: int, route: Route) -> bool:
    """Whether the account's own server may hold it and the way is the platform's for now, or the reverse."""
    other = _ATTEMPT.c.version_number.is_(None)
    if route.version_number is None:
        other = _ATTEMPT.c.version_number.is_not(None)
    named = _ATTEMPT.c.server != ""  # an intent that a power cut took says nothing of the way
    query = select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == message_id, _ATTEMPT.c.ambiguous, other, named
    )
    return db.session.scalar(query.limit(1)) is not None


def address(claim: Claim, route: Route) -> None:
    """Give a claim that was made without knowing the way its Message-ID, as part of the transaction."""
    claim.message = replace(claim.message, message_id=_header_id(claim.message, route))
    db.session.execute(
        update(_MESSAGE)
        .where(_MESSAGE.c.id == claim.message.id, _MESSAGE.c.lease_token == claim.token)
        .values(message_id=claim.message.message_id)
    )


def intend(claim: Claim, route: Route | None, *, now: datetime) -> None:
    """Record the intent to send, before the first byte."""
    about: dict[str, Any] = {}
    if route is not None:
        about = {"v": route.version_number, "s": route.server.address, "f": from_header(route)}
    claim.attempt_id = _record_attempt(claim.message.id, now, **about)


def _record_attempt(message_id: int, now: datetime, v: int | None = None, s: str = "", f: str = "") -> int:
    values = {"i": message_id, "now": now, "v": v, "s": s, "f": f}
    return int(_intending().scalar(values))


@cache
def _intending() -> Swift:
    earlier = select(func.coalesce(func.max(_ATTEMPT.c.number), 0) + 1)
    return Swift(
        insert(_ATTEMPT)
        .values(
            message_id=bindparam("i"),
            number=earlier.where(_ATTEMPT.c.message_id == bindparam("i")).scalar_subquery(),
            version_number=bindparam("v"),
            server=bindparam("s"),
            sender=bindparam("f"),
            started_at=bindparam("now"),
            outcome=Outcome.STARTED,
            ambiguous=False,
            stage="",
            enhanced_code="",
            reply_text="",
            queue_id="",
            transcript="",
            fault="",
        )
        .returning(_ATTEMPT.c.id)
    )


def give_back(claims: Sequence[Claim], queue: Queue) -> None:
    """Let go of messages that were claimed and not begun; they wait with their queue."""
    status = Status.HELD if queue.held_at is not None else Status.QUEUED
    for one in claims:
        back = Status.QUEUED if one.message.urgent else status
        db.session.execute(
            update(_MESSAGE)
            .where(_MESSAGE.c.id == one.message.id, _MESSAGE.c.lease_token == one.token)
            .values(status=back, lease_token=None, lease_until=None)
        )


def give_all_back(ident: int, token: str) -> None:
    """Let go of whatever a slot has claimed and not begun. What was begun waits for its lease to lapse."""
    account = None if ident == SYSTEM else ident
    begun = select(_ATTEMPT.c.id).where(
        _ATTEMPT.c.message_id == _MESSAGE.c.id, _ATTEMPT.c.outcome == Outcome.STARTED
    )
    mine = and_(_MESSAGE.c.account_id == account, _MESSAGE.c.lease_token == token, ~begun.exists())
    db.session.execute(
        update(_MESSAGE)
        .where(mine, _MESSAGE.c.status == Status.SENDING)
        .values(status=Status.QUEUED, lease_token=None, lease_until=None)
    )


def settle(
    claim: Claim,
    *,
    now: datetime,
    status: Status,
    attempt: dict[str, Any],
    next_attempt_at: datetime | None = None,
) -> bool:
    """Record what became of a claimed message, with its attempt, as part of the present transaction.

    Returns False, having changed nothing, when the claim was lost meanwhile.
    """
    values: dict[str, Any] = {"status": status, "lease_token": None, "lease_until": None}
    if next_attempt_at is not None:
        values["next_attempt_at"] = next_attempt_at
    if status in (Status.SENT, Status.FAILED):
        values["settled_at"] = now
        if claim.message.private:  # it may hold a log-in link; nobody needs it any more
            values |= {"text": "", "html": ""}
    if status is not Status.HELD and attempt["outcome"] is not Outcome.HELD:
        values["attempts"] = claim.tries  # held: not this message's fault, so it does not count
    if not settle_rows(claim.message.id, claim.token, values):
        return False
    complete(claim.attempt_id, {**attempt, "ended_at": now})
    return True


def settle_rows(message_id: int, token: str, values: dict[str, Any]) -> bool:
    """Change a message while it is being sent under this very claim."""
    known = {f"v_{name}": value for name, value in values.items()}
    return bool(_settling(tuple(values)).changes({"i": message_id, "t": token, **known}))


def complete(attempt_id: int, values: dict[str, Any]) -> None:
    """Write down how an attempt ended."""
    known = {f"v_{name}": value for name, value in values.items()}
    _completing(tuple(values)).changes({"i": attempt_id, **known})


@cache
def _settling(names: tuple[str, ...]) -> Swift:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    mine = (_MESSAGE.c.id == bindparam("i"), _MESSAGE.c.lease_token == bindparam("t"))
    return Swift(update(_MESSAGE).where(*mine).values(values))


@cache
def _completing(names: tuple[str, ...]) -> Swift:
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    return Swift(update(_ATTEMPT).where(_ATTEMPT.c.id == bindparam("i")).values(values))
