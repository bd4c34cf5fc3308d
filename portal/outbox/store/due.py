# ruff: noqa: S608 - the words are put together from constants of this file alone; values are bound
"""The one rule of what may be tried now, in the words of the database, so that it costs the same however much is kept.

A test goes even while the queue is held or paused. A held queue lets one message out as a probe when its time
has come. A message whose worker died goes as soon as its lease has lapsed. What was held just as its queue was
let go, by two transactions side by side, is not left behind. To one recipient messages leave in the order in
which they were owed: one waits while an earlier one is owed still, whatever that waits for.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, TextClause, bindparam, text

from ...db import UTCDateTime, db
from ...db.transaction import current_connection
from ..models import OPEN, Queue
from ..queue import SYSTEM
from . import clock_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What is said of a message here is said in literal words: an index over open messages alone serves them only so.
_WINDOW = 2  # times the limit is looked at first, so that a crowd waiting behind one another costs little
_WAITING = f"m.status = 'queued' AND m.{OPEN} AND m.next_attempt_at <= :now"
_URGENT = f"{_WAITING} AND m.is_test"
_LAPSED = (
    f"m.status = 'sending' AND m.{OPEN} "
    "AND (m.lease_until IS NULL OR m.lease_until <= :over OR m.lease_until > :never)"
)
_FORGOTTEN = f"m.status = 'held' AND m.{OPEN} AND m.next_attempt_at <= :now"
_HELD = f"m.status = 'held' AND m.{OPEN}"
_OURS = "{account} AND m.forced_version_id IS NULL AND {rule}"
_ORDER = "m.next_attempt_at, m.id"
_IN_LINE = (
    "(m.is_test OR NOT EXISTS (SELECT 1 FROM outbox_message e WHERE {earlier} AND e.recipient = m.recipient"
    f" AND e.id < m.id AND e.{OPEN} AND e.forced_version_id IS NULL AND NOT e.is_test))"
)


def candidates(queue: Queue, columns: str, limit: int, *, now: datetime) -> Iterator[Sequence[Any]]:
    """Yield rows that may be claimed of a queue, rule by rule, at most ``limit`` of each, locked."""
    ident = queue.account_id
    rules = [(_URGENT, "test", False), (_LAPSED, "due", False)]
    if is_moving(queue, now):
        rules += [(_WAITING, "due", True), (_FORGOTTEN, "due", False)]
    for rule, index, crowded in rules:
        yield _rows(ident, rule, index, columns, limit, now=now, crowded=crowded)
    if queue.held_at is not None and queue.next_probe_at is not None and queue.next_probe_at <= now:
        for rule in (_HELD, _WAITING):
            yield _rows(ident, rule, "due", columns, 1, now=now, crowded=True)


def is_moving(queue: Queue, now: datetime) -> bool:
    """Whether a queue is neither held nor paused."""
    return queue.held_at is None and (queue.paused_until is None or queue.paused_until <= now)


def _rows(
    ident: int, rule: str, index: str, columns: str, limit: int, *, now: datetime, crowded: bool
) -> Sequence[Any]:
    on_postgresql = current_connection().dialect.name == "postgresql"
    # With many rows to choose from, SQLite would rather read them all in the order of their numbers.
    table = "outbox_message m" + ("" if on_postgresql else f" INDEXED BY ix_outbox_message_{index}")
    over, never = clock_steps.bounds(now)
    values: dict[str, Any] = {"account": ident, "limit": limit, "now": now, "over": over, "never": never}
    found: list[int] = []
    if crowded:
        values["window"] = _WINDOW * limit
        found = _ask(_narrow(ident, rule, table), values)
    found = found or _ask(_wide(ident, rule, table), values)
    if not found:
        return []
    # Whoever settles or cancels a message at this moment is not waited for.
    lock = " FOR UPDATE OF m SKIP LOCKED" if on_postgresql else ""
    where = f"m.id IN :numbers AND {rule}"
    chosen = f"SELECT {columns} FROM outbox_message m WHERE {where} ORDER BY {_ORDER}{lock}"
    return _run(chosen, values | {"numbers": found})


def _ask(statement: str, values: dict[str, Any]) -> list[int]:
    return [row[0] for row in _run(statement, values)]


def _run(statement: str, values: dict[str, Any]) -> Sequence[Any]:
    known = {name: value for name, value in values.items() if f":{name}" in statement}
    return current_connection().execute(_timed(statement), known).all()


def _narrow(ident: int, rule: str, table: str) -> str:
    """Ask for the numbers of what may leave among the first of a long queue."""
    first = (
        f"SELECT m.id, m.recipient, m.is_test, m.next_attempt_at FROM {table}"
        f" WHERE {_ours(ident, rule)} ORDER BY {_ORDER} LIMIT :window"
    )
    return f"SELECT m.id FROM ({first}) AS m WHERE {_in_line(ident)} ORDER BY {_ORDER} LIMIT :limit"


def _wide(ident: int, rule: str, table: str) -> str:
    where = f"{_ours(ident, rule)} AND {_in_line(ident)}"
    return f"SELECT m.id FROM {table} WHERE {where} ORDER BY {_ORDER} LIMIT :limit"


def _ours(ident: int, rule: str) -> str:
    account = "m.account_id IS NULL" if ident == SYSTEM else "m.account_id = :account"
    return _OURS.format(account=account, rule=rule)


def _in_line(ident: int) -> str:
    return _IN_LINE.format(earlier="e.account_id IS NULL" if ident == SYSTEM else "e.account_id = :account")


@lru_cache(256)
def _timed(statement: str) -> TextClause:
    moments = [
        bindparam(name, type_=UTCDateTime()) for name in ("now", "over", "never") if f":{name}" in statement
    ]
    lists: list[Any] = [bindparam("numbers", expanding=True)] if ":numbers" in statement else []
    return text(statement).bindparams(*moments, *lists)


# -- which queues have something to do


def due_statement(own: bool) -> str:
    """Return the question which queues have something to do; each queue costs a look or two into an index.

    ``own`` is about the portal's own mail.
    """
    account = "m.account_id IS NULL" if own else "m.account_id = q.account_id"

    def some(rule: str) -> str:
        """Say that there is a message to which the rule applies."""
        where = _OURS.format(account=account, rule=rule)
        return f"EXISTS (SELECT 1 FROM outbox_message m WHERE {where})"

    moving = "q.held_at IS NULL AND (q.paused_until IS NULL OR q.paused_until <= :now)"
    probing = "q.held_at IS NOT NULL AND q.next_probe_at <= :now"
    return (
        f"SELECT q.account_id, q.last_served_at FROM outbox_queue q WHERE q.account_id {'=' if own else '<>'} {SYSTEM} AND ("
        f"{moving} AND ({some(_WAITING)} OR {some(_FORGOTTEN)})"
        f" OR {probing} AND ({some(_HELD)} OR {some(_WAITING)}) OR {some(_URGENT)} OR {some(_LAPSED)})"
    )


def has_work(ident: int, now: datetime) -> bool:
    """Whether one queue has something to do."""
    over, never = clock_steps.bounds(now)
    statement = _timed(f"{due_statement(ident == SYSTEM)} AND q.account_id = :account")
    values = {"account": ident, "now": now, "over": over, "never": never}
    return db.session.execute(statement, values).first() is not None


def due_queues(now: datetime) -> list[int]:
    """Return the queues that have something to do, the one served longest ago first."""
    found: list[tuple[datetime, int]] = []
    first = datetime.min.replace(tzinfo=now.tzinfo)
    over, never = clock_steps.bounds(now)
    for own in (True, False):
        statement = _timed(due_statement(own))
        moments = {"now": now, "over": over, "never": never}
        for ident, last_served_at in db.session.execute(
            statement.columns(account_id=BigInteger, last_served_at=UTCDateTime()), moments
        ):
            found.append((last_served_at or first, ident))
    return [ident for _, ident in sorted(found)]
