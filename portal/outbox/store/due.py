# ruff: noqa: S608 - the SQL is composed from constants of this file; values are bound
"""The due query: which messages may be claimed now. Its cost does not grow with the number of stored messages.

- A test is due even while the queue is held or paused.
- A held queue sends one message as a probe when the time of the probe has come.
- A message whose worker crashed is due as soon as its lease is over.
- A message that was held by one transaction while another released its queue is found as well.
- Messages to one recipient are sent in the order in which they were enqueued: a message waits while an earlier one is
  open, whatever the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, TextClause, bindparam, text

from ...db import UTCDateTime, db
from ...db.transaction import current_connection
from ...state import current_config
from ..models import OPEN, Queue
from ..queue import SYSTEM
from . import leases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Conditions are literal SQL, as the partial indexes serve only queries that contain the index's own condition.
_WAITING = f"m.status = 'queued' AND m.{OPEN} AND m.next_attempt_at <= :now"
_TEST = f"{_WAITING} AND m.is_test"
_EXPIRED = (
    f"m.status = 'sending' AND m.{OPEN} "
    "AND (m.lease_until IS NULL OR m.lease_until <= :earliest OR m.lease_until > :latest)"
)
_LEFT_HELD = f"m.status = 'held' AND m.{OPEN} AND m.next_attempt_at <= :now"
_HELD = f"m.status = 'held' AND m.{OPEN}"
_OF_ACCOUNT = "{account} AND m.forced_version_id IS NULL AND {rule}"
_ORDER = "m.next_attempt_at, m.id"
_FIRST_OF_RECIPIENT = (
    "(m.is_test OR NOT EXISTS (SELECT 1 FROM outbox_message e WHERE {earlier} AND e.recipient = m.recipient"
    f" AND e.id < m.id AND e.{OPEN} AND e.forced_version_id IS NULL AND NOT e.is_test))"
)


@dataclass(frozen=True)
class _Rule:
    """A reason why messages are due."""

    where: str
    index: str = "due"  # the index that serves the condition
    may_be_long: bool = False  # many messages may match: a window of the first ones is examined first


_TESTS = _Rule(_TEST, "test")
_CRASHED = _Rule(_EXPIRED)
_QUEUED = _Rule(_WAITING, may_be_long=True)
_LEFT_BEHIND = _Rule(_LEFT_HELD)
_PROBES = (_Rule(_HELD, may_be_long=True), _QUEUED)


def candidates(queue: Queue, columns: str, limit: int, *, now: datetime) -> Iterator[Sequence[Any]]:
    """Yield rows of a queue that may be claimed, rule by rule, at most ``limit`` of each, locked."""
    rules = [_TESTS, _CRASHED]
    if _is_running(queue, now):
        rules += [_QUEUED, _LEFT_BEHIND]
    for rule in rules:
        yield _rows(queue.account_id, rule, columns, limit, now=now)
    if queue.held_at is not None and queue.next_probe_at is not None and queue.next_probe_at <= now:
        for rule in _PROBES:
            yield _rows(queue.account_id, rule, columns, 1, now=now)


def _is_running(queue: Queue, now: datetime) -> bool:
    """Whether a queue is neither held nor paused."""
    return queue.held_at is None and (queue.paused_until is None or queue.paused_until <= now)


def _rows(account_id: int, rule: _Rule, columns: str, limit: int, *, now: datetime) -> Sequence[Any]:
    on_postgresql = current_connection().dialect.name == "postgresql"
    # Without the hint, SQLite may scan all rows by id if there are many.
    table = "outbox_message m" + ("" if on_postgresql else f" INDEXED BY ix_outbox_message_{rule.index}")
    values: dict[str, Any] = {"account": account_id, "limit": limit, **_times(now)}
    found: list[int] = []
    if rule.may_be_long:
        values["window"] = current_config().tuning.claim_window_factor * limit
        found = _ids(_narrow_query(account_id, rule.where, table), values)
    found = found or _ids(_wide_query(account_id, rule.where, table), values)
    if not found:
        return []
    # Rows that another transaction is settling or cancelling are skipped.
    lock = " FOR UPDATE OF m SKIP LOCKED" if on_postgresql else ""
    where = f"m.id IN :ids AND {rule.where}"
    chosen = f"SELECT {columns} FROM outbox_message m WHERE {where} ORDER BY {_ORDER}{lock}"
    return _run(chosen, values | {"ids": found})


def _ids(statement: str, values: dict[str, Any]) -> list[int]:
    return [row[0] for row in _run(statement, values)]


def _run(statement: str, values: dict[str, Any]) -> Sequence[Any]:
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    return current_connection().execute(_typed(statement), used).all()


def _narrow_query(account_id: int, rule: str, table: str) -> str:
    first = (
        f"SELECT m.id, m.recipient, m.is_test, m.next_attempt_at FROM {table}"
        f" WHERE {_of_account(account_id, rule)} ORDER BY {_ORDER} LIMIT :window"
    )
    where = _first_of_recipient(account_id)
    return f"SELECT m.id FROM ({first}) AS m WHERE {where} ORDER BY {_ORDER} LIMIT :limit"


def _wide_query(account_id: int, rule: str, table: str) -> str:
    where = f"{_of_account(account_id, rule)} AND {_first_of_recipient(account_id)}"
    return f"SELECT m.id FROM {table} WHERE {where} ORDER BY {_ORDER} LIMIT :limit"


def _of_account(account_id: int, rule: str) -> str:
    account = "m.account_id IS NULL" if account_id == SYSTEM else "m.account_id = :account"
    return _OF_ACCOUNT.format(account=account, rule=rule)


def _first_of_recipient(account_id: int) -> str:
    earlier = "e.account_id IS NULL" if account_id == SYSTEM else "e.account_id = :account"
    return _FIRST_OF_RECIPIENT.format(earlier=earlier)


def _times(now: datetime) -> dict[str, datetime]:
    earliest, latest = leases.lease_bounds(now)
    return {"now": now, "earliest": earliest, "latest": latest}


@lru_cache(256)
def _typed(statement: str) -> TextClause:
    times = ("now", "earliest", "latest")
    typed = [bindparam(name, type_=UTCDateTime()) for name in times if f":{name}" in statement]
    lists: list[Any] = [bindparam("ids", expanding=True)] if ":ids" in statement else []
    return text(statement).bindparams(*typed, *lists)


# -- which queues have due messages


def due_statement(*, system: bool) -> str:
    """Return the query for queues with due messages, which costs a few index look-ups per queue.

    ``system``: the queue of the portal's own mail instead of the accounts' queues.
    """
    account = "m.account_id IS NULL" if system else "m.account_id = q.account_id"

    def exists(rule: str) -> str:
        where = _OF_ACCOUNT.format(account=account, rule=rule)
        return f"EXISTS (SELECT 1 FROM outbox_message m WHERE {where})"

    running = "q.held_at IS NULL AND (q.paused_until IS NULL OR q.paused_until <= :now)"
    probing = "q.held_at IS NOT NULL AND q.next_probe_at <= :now"
    return (
        f"SELECT q.account_id, q.last_served_at FROM outbox_queue q"
        f" WHERE q.account_id {'=' if system else '<>'} {SYSTEM} AND ("
        f"{running} AND ({exists(_WAITING)} OR {exists(_LEFT_HELD)})"
        f" OR {probing} AND ({exists(_HELD)} OR {exists(_WAITING)})"
        f" OR {exists(_TEST)} OR {exists(_EXPIRED)})"
    )


def has_due_messages(account_id: int, now: datetime) -> bool:
    """Whether one queue has due messages."""
    statement = _typed(f"{due_statement(system=account_id == SYSTEM)} AND q.account_id = :account")
    return db.session.execute(statement, {"account": account_id, **_times(now)}).first() is not None


def due_queues(now: datetime) -> list[int]:
    """Return the account ids of the queues with due messages, the one served longest ago first."""
    found: list[tuple[datetime, int]] = []
    never = datetime.min.replace(tzinfo=now.tzinfo)
    for system in (True, False):
        statement = _typed(due_statement(system=system))
        typed = statement.columns(account_id=BigInteger, last_served_at=UTCDateTime())
        for account_id, last_served_at in db.session.execute(typed, _times(now)):
            found.append((last_served_at or never, account_id))
    return [account_id for _, account_id in sorted(found)]
