"""Claims: who may send a message now.

A claim is a lease with a token. The intent to send is recorded before the first byte, in the table or in the
journal, and a settlement counts only while its token is the row's, so a worker frozen past its lease changes
nothing when it wakes. Nothing here commits: one transaction carries the results of what was handed in, the
intent to send the next, and the renewal.
"""

# ruff: noqa: S608 - the words are put together from constants of this house; values are bound

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Table, and_, bindparam, func, select, text, update

from ...db import UTCDateTime, db
from ...db.prepared import PreparedStatement, json_field
from ...db.transaction import current_connection, db_now
from ..models import OutboxMessage, Outcome, Queue, Status
from ..queue import SYSTEM
from . import acceptance_log, attempts, clock_steps, connection_leases, due
from .due import due_queues
from .settle import LET_GO, WIPED, settle_rows
from .types import Claim, QueuedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..routing import Route

__all__ = ["Claim", "QueuedMessage", "claim_batch", "claim_one", "due_queues", "give_back", "intend"]

_MESSAGE: Table = OutboxMessage.__table__  # type: ignore[assignment]
_ARRIVED = -1
_HOLDING = PreparedStatement(
    select(func.count()).where(_MESSAGE.c.id == bindparam("i"), _MESSAGE.c.lease_token == bindparam("t"))
)


_COLUMNS = ", ".join(f"m.{name}" for name in QueuedMessage._fields)


def claim_batch(queue: Queue, token: str, route: Route | None, *, limit: int, now: datetime) -> list[Claim]:
    """Claim what may leave next of a queue whose row is locked, at most ``limit`` messages."""
    if queue.ramp_limit == 0:
        limit = 1  # after trouble one message finds out whether it is over
    rows: list[QueuedMessage] = []
    probing = queue.held_at is not None
    for found in due.candidates(queue, _COLUMNS, limit, now=now):
        parcels = [QueuedMessage(*row) for row in found[: limit - len(rows)]]
        if probing and any(not one.is_test and one.status != Status.SENDING for one in parcels):
            queue.next_probe_at = (
                now + connection_leases.lease()
            )  # one probe at a time, whatever becomes of this one
        rows += [one for one in parcels if one.id not in {other.id for other in rows}]
        if len(rows) >= limit:
            break
    claims = _claim(rows, token, route, now=now)
    if rows and not claims:  # a journal knew all of them to be accepted: there may be others
        return claim_batch(queue, token, route, limit=limit, now=now)
    return claims


def claim_one(message_id: int) -> Claim | None:
    """Claim one message by its id, as a check of settings does; None when it is settled or taken. Commits."""
    now = db_now()
    query = select(*[_MESSAGE.c[name] for name in QueuedMessage._fields], _MESSAGE.c.lease_until)
    row = db.session.execute(query.where(_MESSAGE.c.id == message_id).with_for_update()).one_or_none()
    over = row is not None and row.status is Status.SENDING and _is_over(row.lease_until, now)
    if row is None or not (row.status is Status.QUEUED or over):
        db.session.rollback()
        return None
    claims = _claim([QueuedMessage(*row[:-1])], connection_leases.new_token(), None, now=now)
    db.session.commit()
    return claims[0] if claims else None


def _is_over(until: datetime | None, now: datetime) -> bool:
    over, never = clock_steps.bounds(now)
    return until is None or until <= over or until > never


def _claim(rows: Sequence[QueuedMessage], token: str, route: Route | None, *, now: datetime) -> list[Claim]:
    lost = [row for row in rows if row.status == Status.SENDING]
    again = _interrupted(lost, now) if lost else {}
    rows = [row for row in rows if again.get(row.id) != _ARRIVED]
    if not rows:
        return []
    claims = []
    for row in rows:
        tried = row.attempts + again.get(row.id, 0)
        parcel = row._replace(message_id=_header_id(row, route), attempts=tried)
        waits = bool(tried) and route is not None and attempts.may_be_elsewhere(row.id, route)
        claims.append(Claim(parcel, token, first=row is rows[0], awaits_other_server=waits))
    _take(claims, token, now + connection_leases.lease())
    return claims


def _take(claims: Sequence[Claim], token: str, until: datetime) -> None:
    """Write down whose the messages are, all of which are locked."""
    taken = [(one.message.id, one.message.message_id) for one in claims]
    if current_connection().dialect.name == "sqlite":
        _TAKING.rowcount(rows=json.dumps(taken), t=token, u=until)
        return
    values = [{"i": ident, "m": message_id, "t": token, "u": until} for ident, message_id in taken]
    current_connection().execute(_TAKING_EACH, values)


_TAKING = PreparedStatement(
    text(
        f"UPDATE outbox_message SET status = 'sending', message_id = {json_field(1)}, lease_token = :t,"
        f" lease_until = :u FROM json_each(:rows) AS r WHERE outbox_message.id = {json_field(0)}"
    ).bindparams(bindparam("u", type_=UTCDateTime()))
)
_TAKING_EACH = (
    update(_MESSAGE)
    .where(_MESSAGE.c.id == bindparam("i"))
    .values(
        status=Status.SENDING,
        message_id=bindparam("m"),
        lease_token=bindparam("t"),
        lease_until=bindparam("u"),
    )
)


def _interrupted(rows: Sequence[QueuedMessage], now: datetime) -> dict[int, int]:
    """Mark attempts that never ended: their worker died or froze, and the server may hold the message.

    Returns how many tries more count against each; _ARRIVED for one that a journal knows to be accepted.
    """
    counted: dict[int, int] = {}
    tokens = {row.lease_token for row in rows if row.lease_token}
    arrived = {entry["message"] for entry in acceptance_log.about(tokens) if bring_in(entry, now)}
    for row in rows:
        if row.id in arrived:
            counted[row.id] = _ARRIVED
            continue
        if connection_leases.before_a_power_cut(row.lease_token) and attempts.under_way(row.id) is None:
            attempts.write(row.id, now, {})  # it may have been begun: the power cut may have taken the intent
        if attempts.interrupt(row.id, now):
            counted[row.id] = 1
            db.session.execute(
                update(_MESSAGE).where(_MESSAGE.c.id == row.id).values(attempts=_MESSAGE.c.attempts + 1)
            )
    return counted


def _header_id(row: QueuedMessage, route: Route | None) -> str | None:
    """Return the Message-ID: the one it has, unless it is another domain's and no server may hold it."""
    if route is None:
        return row.message_id
    at_home = bool(row.message_id) and str(row.message_id).endswith(f"@{route.domain}>")
    if row.message_id and (at_home or attempts.may_have_arrived(row.id)):
        return row.message_id
    return route.new_message_id()


def address(claim: Claim, route: Route) -> None:
    """Give a claim that was made without knowing the way its Message-ID, as part of the transaction."""
    claim.message = claim.message._replace(message_id=_header_id(claim.message, route))
    db.session.execute(
        update(_MESSAGE)
        .where(_MESSAGE.c.id == claim.message.id, _MESSAGE.c.lease_token == claim.token)
        .values(message_id=claim.message.message_id)
    )


def intend(claim: Claim, route: Route | None, *, now: datetime) -> None:
    """Record the intent to send in the table, before the first byte."""
    begin(claim, route, now=now)
    claim.intent_id = attempts.write(claim.message.id, now, claim.route)


def begin(claim: Claim, route: Route | None, *, now: datetime) -> None:
    """Note by which way a message is tried from now on; whoever calls sees to it that this is written down."""
    claim.begun_at = now
    if route is not None:
        claim.route = route.described


def holds(claim: Claim) -> bool:
    """Whether a claimed message is still its claim's."""
    return bool(_HOLDING.scalar(i=claim.message.id, t=claim.token))


def bring_in(entry: acceptance_log.Entry, now: datetime) -> bool:
    """Have the table say what a line of a journal says of a message that is still claimed so.

    Returns whether that settled it: the server had accepted it.
    """
    mine = (_MESSAGE.c.id == entry["message"], _MESSAGE.c.lease_token == entry["token"])
    query = select(_MESSAGE.c.attempts, _MESSAGE.c.is_sealed).where(
        *mine, _MESSAGE.c.status == Status.SENDING
    )
    row = db.session.execute(query.with_for_update()).one_or_none()
    if row is None:
        return False
    attempt = attempts.under_way(entry["message"])
    if attempt is None:
        words = dict(entry.get("begun", {}))
        since = words.pop("now", None)
        attempt = attempts.write(entry["message"], datetime.fromisoformat(since) if since else now, words)
    if "reply" not in entry:
        return False
    values = {"status": Status.SENT, "settled_at": now, "attempts": row.attempts + 1, **LET_GO}
    if row.is_sealed:
        values |= WIPED
    if not settle_rows(entry["message"], entry["token"], values):
        return False
    attempts.complete(attempt, {**entry["reply"], "outcome": Outcome.ACCEPTED, "ended_at": now})
    db.session.expire_all()
    return True


def give_back(claims: Sequence[Claim], queue: Queue) -> None:
    """Let go of messages that were claimed and not begun; they wait with their queue."""
    status = Status.HELD if queue.held_at is not None else Status.QUEUED
    for one in claims:
        back = Status.QUEUED if one.message.is_test else status
        db.session.execute(
            update(_MESSAGE)
            .where(_MESSAGE.c.id == one.message.id, _MESSAGE.c.lease_token == one.token)
            .values(status=back, **LET_GO)
        )


def give_all_back(ident: int, token: str) -> None:
    """Let go of whatever a slot has claimed and not begun. What was begun waits for its lease to lapse."""
    account = None if ident == SYSTEM else ident
    begun = attempts.of_those_under_way(_MESSAGE.c.id)
    mine = and_(_MESSAGE.c.account_id == account, _MESSAGE.c.lease_token == token, ~begun.exists())
    db.session.execute(
        update(_MESSAGE)
        .where(mine, _MESSAGE.c.status == Status.SENDING)
        .values(status=Status.QUEUED, **LET_GO)
    )
