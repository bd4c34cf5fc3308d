# ruff: noqa: S608 - the words are put together from constants of this file alone; values are bound
"""The one rule of what may be tried now, in the words of the database, so that it costs the same however much is kept.

A test goes even while the queue is held or paused. A held queue lets one message out as a probe when its time
has come. A message whose worker died goes as soon as its lease has lapsed. What was held just as its queue was
let go, by two transactions side by side, is not left behind. To one recipient messages leave in the order in
which they were owed: one waits while an earlier one is owed still, whatever that waits for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, bindparam, text

from ..db import UTCDateTime, db
from .models import OPEN, Queue
from .queue import SYSTEM
from .slots import lease

# What is said of a message here is said in literal words: an index over open messages alone serves them only so.
_WINDOW = 400  # messages looked at first, so that a crowd waiting behind one another costs little
_URGENT = f"m.status = 'queued' AND m.{OPEN} AND m.urgent AND m.next_attempt_at <= :now"
_LAPSED = (
    f"m.status = 'sending' AND m.{OPEN} "
    "AND (m.lease_until IS NULL OR m.lease_until <= :now OR m.lease_until > :never)"
)
_WAITING = f"m.status = 'queued' AND m.{OPEN} AND m.next_attempt_at <= :now"
_FORGOTTEN = f"m.status = 'held' AND m.{OPEN} AND m.next_attempt_at <= :now"
_HELD = f"m.status = 'held' AND m.{OPEN}"
_OURS = "{account} AND m.pinned_version IS NULL AND {rule}"
_IN_LINE = (
    "(m.urgent OR NOT EXISTS (SELECT 1 FROM outbox_message e WHERE {earlier} AND e.recipient = m.recipient"
    f" AND e.id < m.id AND e.{OPEN} AND e.pinned_version IS NULL AND NOT e.urgent))"
)


def candidates(queue: Queue, columns: str, limit: int, *, now: datetime, lock: bool) -> Iterator[list[Any]]:
    """Yield rows that may be claimed of a queue, rule by rule, at most ``limit`` of each."""
    moving = is_moving(queue, now)
    rules = [(_URGENT, "m.id"), (_LAPSED, "m.id")]
    if moving:
        rules += [(_WAITING, "m.next_attempt_at, m.id"), (_FORGOTTEN, "m.next_attempt_at, m.id")]
    for rule, order in rules:
        yield _rows(queue.account_id, rule, order, columns, limit, now=now, lock=lock)
    if queue.held_at is not None and queue.probe_at is not None and queue.probe_at <= now:
        for rule in (_HELD, _WAITING):
            yield _rows(queue.account_id, rule, "m.id", columns, 1, now=now, lock=lock)


def is_moving(queue: Queue, now: datetime) -> bool:
    """Whether a queue is neither held nor paused."""
    return queue.held_at is None and (queue.pause_until is None or queue.pause_until <= now)


def _rows(
    ident: int, rule: str, order: str, columns: str, limit: int, *, now: datetime, lock: bool
) -> list[Any]:
    names = {"limit": limit, "window": _WINDOW, "account": ident}
    for statement in (_narrow(ident, rule, order, columns), _wide(ident, rule, order, columns)):
        known = {name: value for name, value in names.items() if f":{name}" in statement}
        if lock and db.session.connection().dialect.name == "postgresql":
            # Whoever settles or cancels a message at this moment is not waited for.
            statement += " FOR UPDATE OF m SKIP LOCKED"
        found = list(db.session.execute(_timed(statement), known | _moments(now, statement)))
        if found or not known.get("window"):
            return found
    return []


def _narrow(ident: int, rule: str, order: str, columns: str) -> str:
    first = f"SELECT m.id FROM outbox_message m WHERE {_ours(ident, rule)} ORDER BY {order} LIMIT :window"
    return (
        f"SELECT {columns} FROM outbox_message m WHERE m.id IN (SELECT id FROM ({first}) AS w)"
        f" AND {_in_line(ident)} ORDER BY {order} LIMIT :limit"
    )


def _wide(ident: int, rule: str, order: str, columns: str) -> str:
    return (
        f"SELECT {columns} FROM outbox_message m WHERE {_ours(ident, rule)} AND {_in_line(ident)}"
        f" ORDER BY {order} LIMIT :limit"
    )


def _ours(ident: int, rule: str) -> str:
    account = "m.account_id IS NULL" if ident == SYSTEM else "m.account_id = :account"
    return _OURS.format(account=account, rule=rule)


def _in_line(ident: int) -> str:
    return _IN_LINE.format(earlier="e.account_id IS NULL" if ident == SYSTEM else "e.account_id = :account")


def _timed(statement: str) -> TextClause:
    moments = [bindparam(name, type_=UTCDateTime()) for name in ("now", "never") if f":{name}" in statement]
    return text(statement).bindparams(*moments)


def _moments(now: datetime, statement: str) -> dict[str, datetime]:
    known = {"now": now, "never": now + 2 * lease()}
    return {name: value for name, value in known.items() if f":{name}" in statement}


# -- which queues have something to do


def due_statement(own: bool) -> str:
    """Return the question which queues have something to do; each queue costs a look or two into an index.

    ``own`` is about the portal's own mail.
    """
    account = "m.account_id IS NULL" if own else "m.account_id = q.account_id"

    def some(rule: str) -> str:
        where = _OURS.format(account=account, rule=rule)
        return f"EXISTS (SELECT 1 FROM outbox_message m WHERE {where})"

    moving = "q.held_at IS NULL AND (q.pause_until IS NULL OR q.pause_until <= :now)"
    probing = "q.held_at IS NOT NULL AND q.probe_at <= :now"
    return (
        f"SELECT q.account_id, q.served_at FROM outbox_queue q WHERE q.account_id {'=' if own else '<>'} {SYSTEM} AND ("
        f"{moving} AND ({some(_WAITING)} OR {some(_FORGOTTEN)})"
        f" OR {probing} AND ({some(_HELD)} OR {some(_WAITING)}) OR {some(_URGENT)} OR {some(_LAPSED)})"
    )


def due_queues(now: datetime) -> list[int]:
    """Return the queues that have something to do, the one served longest ago first."""
    found = []
    for own in (True, False):
        statement = due_statement(own)
        query = _timed(statement).columns(served_at=UTCDateTime())
        found += [(one.served_at, one[0]) for one in db.session.execute(query, _moments(now, statement))]
    never = datetime.min.replace(tzinfo=now.tzinfo)
    return [ident for _, ident in sorted(found, key=lambda one: (one[0] or never, one[1]))]
