"""Claims: which drain may send a message now.

A claim is a lease on the message's row, named by a token. The start of an attempt is recorded before the first byte is
sent, in the table or in the acceptance log, and a settlement counts only while the row still has the claim's token, so
a worker that was frozen past its lease changes nothing when it resumes.

Only functions marked "Commits." commit: one transaction carries the results of the submitted messages, the start of the
next attempt and the renewal of the lease.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Table, and_, bindparam, select, update

from ...db import db
from ...db.postgresql import id_array
from ...db.transaction import current_connection, current_dialect, db_now
from ..models import OutboxMessage, Outcome, Queue, Status
from ..queue import SYSTEM, get_queue
from . import acceptance_log, attempts, due, leases
from .settle import BODY_CLEARED, LEASE_CLEARED, update_claimed
from .types import Claim, QueuedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..routing import Route

_MESSAGE: Table = OutboxMessage.__table__  # type: ignore[assignment]
_COLUMNS = ", ".join(f"m.{name}" for name in QueuedMessage._fields)
# Instead of a number of further tries: the acceptance log shows that the server has the message.
_DELIVERED = -1
_ENTRIES_PER_QUERY = 500  # of an acceptance log
_CLAIM = (
    update(_MESSAGE)
    .where(_MESSAGE.c.id == bindparam("claimed_id"))
    .values(
        status=Status.SENDING,
        message_id=bindparam("header_id"),
        lease_token=bindparam("token"),
        lease_until=bindparam("until"),
    )
)
# On PostgreSQL one statement for a batch. SQLite has no round trips, and prepares the one above once.
_CLAIM_TOGETHER = """
UPDATE outbox_message SET status = 'sending', message_id = row.header_id, lease_token = %(token)s::text,
    lease_until = %(until)s::timestamptz
FROM json_to_recordset(%(claimed)s::json) AS row(claimed_id bigint, header_id text)
WHERE outbox_message.id = ANY(%(ids)s::bigint[]) AND outbox_message.id = row.claimed_id
"""
_IS_CURRENT = select(_MESSAGE.c.id).where(
    _MESSAGE.c.id == bindparam("claimed_id"), _MESSAGE.c.lease_token == bindparam("token")
)


def claim_batch(queue: Queue, token: str, route: Route | None, *, limit: int, now: datetime) -> list[Claim]:
    """Claim at most ``limit`` due messages of a queue whose row is locked, in the order in which they may leave."""
    if queue.ramp_limit == 0:
        limit = 1  # after a failure, one message tests whether the server works again
    rows: list[QueuedMessage] = []
    for found in due.candidates(queue, _COLUMNS, limit, now=now):
        messages = [QueuedMessage(*row) for row in found[: limit - len(rows)]]
        probes = [one for one in messages if not one.is_test and one.status != Status.SENDING]
        if queue.held_at is not None and probes:
            queue.next_probe_at = now + leases.lease_duration()  # one probe at a time, whatever its result
        rows += [one for one in messages if one.id not in {other.id for other in rows}]
        if len(rows) >= limit:
            break
    claims = _claim(rows, token, route, now=now)
    if rows and not claims:  # all of them were delivered, by the acceptance log; there may be others
        return claim_batch(queue, token, route, limit=limit, now=now)
    return claims


def claim_one(message_id: int) -> Claim | None:
    """Claim one message by its id, for a check of settings; None if it is settled or claimed. Commits."""
    now = db_now()
    query = select(*[_MESSAGE.c[name] for name in QueuedMessage._fields], _MESSAGE.c.lease_until)
    row = db.session.execute(query.where(_MESSAGE.c.id == message_id).with_for_update()).one_or_none()
    expired = row is not None and row.status is Status.SENDING and _is_expired(row.lease_until, now)
    if row is None or not (row.status is Status.QUEUED or expired):
        db.session.rollback()
        return None
    claims = _claim([QueuedMessage(*row[:-1])], leases.new_token(), None, now=now)
    db.session.commit()
    return claims[0] if claims else None


def start_single(claim: Claim, route: Route | None, *, now: datetime) -> bool:
    """Record that the attempt of a claim from ``claim_one`` starts, and give the message its Message-ID.

    False, with nothing changed, if the claim was lost.
    """
    until = now + leases.lease_duration()
    if not update_claimed(claim.message.id, claim.token, {"lease_until": until}):
        return False
    if route is not None:
        claim.message = claim.message._replace(message_id=_header_id(claim.message, route))
        update_claimed(claim.message.id, claim.token, {"message_id": claim.message.message_id})
    record_start(claim, route, now=now)
    return True


def record_start(claim: Claim, route: Route | None, *, now: datetime) -> None:
    """Record in the table that an attempt starts, before the first byte is sent."""
    mark_started(claim, route, now=now)
    claim.started_attempt_id = attempts.insert_attempt(claim.message.id, now, claim.route)


def mark_started(claim: Claim, route: Route | None, *, now: datetime) -> None:
    """Set the start and the route of an attempt in its claim; the caller records them."""
    claim.started_at = now
    if route is not None:
        claim.route = route.attempt_columns


def is_current(claim: Claim) -> bool:
    """Whether a message is still claimed by this claim."""
    values = {"claimed_id": claim.message.id, "token": claim.token}
    return current_connection().execute(_IS_CURRENT, values).first() is not None


def apply_log(entries: Sequence[acceptance_log.Entry], now: datetime) -> set[int]:
    """Record those entries of an acceptance log in the table whose messages are still claimed under the entry's token.

    Returns the ids of the messages that were settled by that, as the server had accepted them.

    Most entries of a log are of settled messages: one query per entry would delay recovery by seconds, in which the
    leases of the ended process may end.
    """
    claimed: set[tuple[int, str]] = set()
    for start in range(0, len(entries), _ENTRIES_PER_QUERY):
        ids = {one["message"] for one in entries[start : start + _ENTRIES_PER_QUERY]}
        query = select(_MESSAGE.c.id, _MESSAGE.c.lease_token)
        query = query.where(_MESSAGE.c.id.in_(ids), _MESSAGE.c.status == Status.SENDING)
        claimed.update((id_, token) for id_, token in db.session.execute(query))
    current = [one for one in entries if (one["message"], one["token"]) in claimed]
    return {one["message"] for one in current if _apply_log_entry(one, now)}


def _apply_log_entry(entry: acceptance_log.Entry, now: datetime) -> bool:
    claimed = (_MESSAGE.c.id == entry["message"], _MESSAGE.c.lease_token == entry["token"])
    query = select(_MESSAGE.c.attempts, _MESSAGE.c.is_sealed)
    query = query.where(*claimed, _MESSAGE.c.status == Status.SENDING)
    row = db.session.execute(query.with_for_update()).one_or_none()
    if row is None:
        return False
    attempt = attempts.find_started(entry["message"])
    if attempt is None:
        route = dict(entry.get("begun", {}))
        started = route.pop("now", None)
        started_at = datetime.fromisoformat(started) if started else now
        attempt = attempts.insert_attempt(entry["message"], started_at, route)
    if "reply" not in entry:
        return False
    values = {"status": Status.SENT, "settled_at": now, "attempts": row.attempts + 1, **LEASE_CLEARED}
    if row.is_sealed:
        values |= BODY_CLEARED
    if not update_claimed(entry["message"], entry["token"], values):
        return False
    attempts.complete(attempt, {**entry["reply"], "outcome": Outcome.ACCEPTED, "ended_at": now})
    db.session.expire_all()
    return True


def release_claims(claims: Sequence[Claim]) -> None:
    """Release claims of one account whose attempt has not started; the messages wait with their queue."""
    if not claims:
        return
    queue = get_queue(claims[0].message.account_id)
    status = Status.HELD if queue.held_at is not None else Status.QUEUED
    for one in claims:
        released = Status.QUEUED if one.message.is_test else status
        update_claimed(one.message.id, one.token, {"status": released, **LEASE_CLEARED})


def release_all(account_id: int, token: str) -> None:
    """Release every message that is claimed under ``token`` and whose attempt has not started.

    A started message stays claimed until its lease is over. ``account_id`` is SYSTEM for the portal's own mail.
    """
    started = attempts.select_started(_MESSAGE.c.id)
    claimed = and_(
        _MESSAGE.c.account_id == (None if account_id == SYSTEM else account_id),
        _MESSAGE.c.lease_token == token,
        _MESSAGE.c.status == Status.SENDING,
        ~started.exists(),
    )
    db.session.execute(update(_MESSAGE).where(claimed).values(status=Status.QUEUED, **LEASE_CLEARED))


def _is_expired(until: datetime | None, now: datetime) -> bool:
    earliest, latest = leases.lease_bounds(now)
    return until is None or until <= earliest or until > latest


def _claim(rows: Sequence[QueuedMessage], token: str, route: Route | None, *, now: datetime) -> list[Claim]:
    """Claim messages whose rows are locked, except those that the acceptance log shows as delivered."""
    lost = [row for row in rows if row.status == Status.SENDING]
    further_tries = _end_lost_attempts(lost, now) if lost else {}
    rows = [row for row in rows if further_tries.get(row.id) != _DELIVERED]
    if not rows:
        return []
    claims = []
    for row in rows:
        tries = row.attempts + further_tries.get(row.id, 0)
        message = row._replace(message_id=_header_id(row, route), attempts=tries)
        waits = bool(tries) and route is not None and attempts.is_possibly_with_other_server(row.id, route)
        claims.append(Claim(message, token, first=row is rows[0], awaits_other_server=waits))
    _write_claims(claims, token, now + leases.lease_duration())
    return claims


def _write_claims(claims: Sequence[Claim], token: str, until: datetime) -> None:
    rows = [{"claimed_id": one.message.id, "header_id": one.message.message_id} for one in claims]
    if current_dialect() == "postgresql":
        ids = id_array(one.message.id for one in claims)
        values = {"ids": ids, "claimed": json.dumps(rows), "token": token, "until": until}
        current_connection().exec_driver_sql(_CLAIM_TOGETHER, values)
    else:
        values = {"token": token, "until": until}
        current_connection().execute(_CLAIM, [row | values for row in rows])


def _end_lost_attempts(rows: Sequence[QueuedMessage], now: datetime) -> dict[int, int]:
    """End attempts whose worker crashed or froze: the server may hold the message.

    Returns by message id how many further tries count, or _DELIVERED if an acceptance log has the server's reply.
    """
    found: dict[int, int] = {}
    tokens = {row.lease_token for row in rows if row.lease_token}
    # Only those of the rows that are locked: the worker, if it runs, may be recording another one and wait for the queue.
    ids = {row.id for row in rows}
    entries = [entry for entry in acceptance_log.entries_for(tokens) if entry["message"] in ids]
    delivered = apply_log(entries, now)
    for row in rows:
        if row.id in delivered:
            found[row.id] = _DELIVERED
            continue
        if leases.may_lack_its_start(row.lease_token) and attempts.find_started(row.id) is None:
            attempts.insert_attempt(row.id, now, {})  # it may have been submitted
        if attempts.mark_interrupted(row.id, now):
            found[row.id] = 1
            counted = update(_MESSAGE).where(_MESSAGE.c.id == row.id)
            db.session.execute(counted.values(attempts=_MESSAGE.c.attempts + 1))
    return found


def _header_id(row: QueuedMessage, route: Route | None) -> str | None:
    """Return the Message-ID: the present one, unless it names another domain and no server may hold the message."""
    if route is None:
        return row.message_id
    is_of_domain = bool(row.message_id) and str(row.message_id).endswith(f"@{route.domain}>")
    if row.message_id and (is_of_domain or attempts.is_possibly_delivered(row.id)):
        return row.message_id
    return route.new_message_id()
