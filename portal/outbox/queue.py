"""The queue: enqueue, hold, release and cancel messages, each within the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, exists, func, literal, or_, text, update

from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import current_dialect, db_now, flush_session
from ..jobs import backoff, notify
from ..state import current_config, vault
from .models import OPEN, OutboxMessage, Queue, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

# The account id of the queue for the portal's own mail, which belongs to no account.
SYSTEM = 0
_OWN_SERVER = "own:"  # begins the key of a message that the platform's sender never carries
_STATUS = OutboxMessage.__table__.c.status.type


@dataclass(frozen=True)
class NewMessage:
    """A rendered message. ``key`` is its idempotency key: a second message with the same key is not enqueued.

    ``is_test``: it is sent first, even while the queue is held, and tried once. ``forced_version_id``: a check sends it
    through this version of the settings. ``unsubscribe_url`` goes into List-Unsubscribe: a POST there ends such mail
    (RFC 8058). ``copy_of_id`` is the message of which this is another copy. ``is_custom``: its text or look is the owner's.
    """

    kind: str
    key: str
    recipient: str
    subject: str
    text: str
    html: str = ""
    recipient_name: str = ""
    is_test: bool = False
    forced_version_id: int | None = None
    unsubscribe_url: str = ""
    copy_of_id: int | None = None
    is_custom: bool = False


def own_server_key(key: str) -> str:
    """Return the key of a message that leaves through the account's own server only."""
    return f"{_OWN_SERVER}{key}"


def is_own_server_only(key: str) -> bool:
    """Return whether the message with this key leaves through the account's own server only."""
    return key.startswith(_OWN_SERVER)


def enqueue_row(account_id: int | None, new: NewMessage, *, now: datetime) -> OutboxMessage | None:
    """Enqueue a message as ``enqueue`` does, and return its row; None if the key is known."""
    message_id = enqueue(account_id, new, now=now)
    return db.session.get_one(OutboxMessage, message_id) if message_id is not None else None


def enqueue(account_id: int | None, new: NewMessage, *, now: datetime) -> int | None:
    """Enqueue a message, and push its job when the caller commits; return its id, or None if the key is known.

    ``account_id`` None is the portal's own mail: it is sent through the operator's server only, sealed in the table and
    cleared when it is settled. The statements are prepared, as a sign-up runs them in a raw transaction.
    """
    flush_session()
    dialect, queue = current_dialect(), account_id or SYSTEM
    sealed, forced = account_id is None, new.forced_version_id is not None
    values: dict[str, Any] = {
        "account_id": account_id,
        "kind": new.kind,
        "key": new.key,
        "recipient": new.recipient,
        "recipient_name": new.recipient_name,
        "subject": new.subject,
        "text": seal_body(new.text, new.key) if sealed else new.text,
        "html": seal_body(new.html, new.key) if sealed and new.html else new.html,
        "is_sealed": sealed,
        "is_test": new.is_test,
        "is_custom": new.is_custom,
        "forced_version_id": new.forced_version_id,
        "unsubscribe_url": new.unsubscribe_url,
        "copy_of_id": new.copy_of_id,
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": db_now(),
    }
    bound: dict[str, Any] = {f"v_{name}": value for name, value in values.items()}
    # A test is sent even while the queue is held.
    bound |= {"queue": queue, "waits_for": None if new.is_test or forced else queue}
    row = _insert_message(dialect, tuple(values)).first(**bound)
    if row is None:
        return None
    message_id: int = row[0]
    if not row[1]:
        _insert_queue(dialect).rowcount(queue=queue)  # the sweep reads queues, so there must be one
    if not forced:
        notify.push_after_commit("drain", queue)
    return message_id


@cache
def _insert_queue(_dialect: str) -> PreparedStatement:
    values = {"failed_probes": 0, "consecutive_failures": 0, "generation": 0, "healthy": False}
    return PreparedStatement(
        insert(Queue).values(account_id=bindparam("queue"), **values).on_conflict_do_nothing()
    )


@cache
def _insert_message(_dialect: str, names: tuple[str, ...]) -> PreparedStatement:
    """Return the statement that enqueues a message as QUEUED, or as HELD if its queue is held when it runs.

    It returns the id, and whether the queue has a row.
    """
    queue = Queue.__table__
    held = exists().where(queue.c.account_id == bindparam("waits_for"), queue.c.held_at.is_not(None))
    has_queue = exists().where(queue.c.account_id == bindparam("queue"))
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    values["status"] = case((held, literal(Status.HELD, _STATUS)), else_=literal(Status.QUEUED, _STATUS))
    statement = insert(OutboxMessage).values(values).on_conflict_do_nothing(index_elements=["key"])
    return PreparedStatement(statement.returning(OutboxMessage.__table__.c.id, has_queue.label("has_queue")))


def get_queue(account_id: int | None, *, lock: bool = False) -> Queue:
    """Return the account's queue, created on first use; ``lock`` locks it until the transaction ends."""
    key = account_id or SYSTEM
    queue = db.session.get(Queue, key)
    if queue is None:
        db.session.execute(
            insert(Queue)
            .values(account_id=key, failed_probes=0, consecutive_failures=0, generation=0, healthy=False)
            .on_conflict_do_nothing()
        )
        queue = db.session.get_one(Queue, key)
    if lock:
        db.session.flush()  # the refresh would discard pending changes
        db.session.refresh(queue, with_for_update=True)
    return queue


def find_queue(account_id: int) -> Queue | None:
    """Return the account's queue, or None if nothing was ever sent. Creates no row, unlike ``get_queue``."""
    return db.session.get(Queue, account_id)


def hold(account_id: int | None, diagnosis: Mapping[str, Any], *, now: datetime) -> None:
    """Hold the account's queue: its settings are at fault, not its messages. The caller commits.

    One message is sent as a probe after a growing delay, as some failures (such as those of a name server) end by
    themselves.
    """
    queue = get_queue(account_id, lock=True)
    queue.held_at = queue.held_at or now
    queue.hold_diagnosis = dict(diagnosis)
    queue.failed_probes += 1
    config = current_config()
    delay = backoff.delay_after(queue.failed_probes, config.tuning.probe_delays_s)
    queue.next_probe_at = now + delay * config.retry_pace
    queue.ramp_limit = 0
    queue.generation += 1
    _move_messages(account_id, Status.QUEUED, Status.HELD)


def release(account_id: int | None) -> int:
    """Release the account's held queue; return how many messages were waiting. The caller commits."""
    queue = get_queue(account_id, lock=True)
    queue.held_at = queue.hold_diagnosis = queue.next_probe_at = None
    queue.failed_probes = 0
    queue.generation += 1
    count = _move_messages(account_id, Status.HELD, Status.QUEUED, next_attempt_at=db_now())
    notify.push_after_commit("drain", account_id or SYSTEM)
    return count


def cancel_pending(
    account_id: int | None, recipient: str, kinds: Collection[str], status: Status, *, now: datetime
) -> list[int]:
    """Settle the waiting messages of these kinds to a recipient as ``status``; return their ids. The caller commits.

    Messages that are being sent, tests and checks are left alone.
    """
    return _change_pending(account_id, recipient, kinds, {"status": status, "settled_at": now})


def redirect_pending(account_id: int, recipient: str, new: str, kinds: Collection[str]) -> list[int]:
    """Give the waiting messages of these kinds to a recipient another one; return their ids. The caller commits.

    Messages that are being sent, tests and checks are left alone.
    """
    return _change_pending(account_id, recipient, kinds, {"recipient": new})


def _change_pending(
    account_id: int | None, recipient: str, kinds: Collection[str], values: dict[str, Any]
) -> list[int]:
    get_queue(account_id, lock=True)  # as a drain does before it claims
    statement = (
        update(OutboxMessage)
        .where(
            OutboxMessage.account_id == account_id,
            text(OPEN),
            OutboxMessage.status.in_((Status.QUEUED, Status.HELD)),
            or_(
                OutboxMessage.recipient == recipient,
                func.lower(OutboxMessage.recipient) == recipient.casefold(),
            ),
            OutboxMessage.kind.in_(list(kinds)),
            OutboxMessage.lease_token.is_(None),
            OutboxMessage.forced_version_id.is_(None),
            OutboxMessage.is_test.is_(False),
        )
        .values(values)
        .returning(OutboxMessage.id)
    )
    return list(db.session.scalars(statement.execution_options(synchronize_session=False)))


def _move_messages(account_id: int | None, old: Status, new: Status, **also: Any) -> int:
    statement = (
        update(OutboxMessage)
        .where(
            OutboxMessage.account_id == account_id,
            OutboxMessage.status == old,
            OutboxMessage.forced_version_id.is_(None),
        )
        .values(status=new, **also)
    )
    if new is Status.HELD:  # a test is sent even so: it may show that the settings work again
        statement = statement.where(OutboxMessage.is_test.is_(False))
    return int(db.session.execute(statement).rowcount)  # type: ignore[attr-defined]


def seal_body(body: str, key: str) -> str:
    """Seal a body that may contain a log-in link, bound to the message with this key."""
    return vault().seal(body, body_binding(key)).hex()


def open_body(sealed: str, key: str) -> str:
    """Open what ``seal_body`` sealed. Raises DecryptionError."""
    return vault().open(bytes.fromhex(sealed), body_binding(key))


def body_binding(key: str) -> dict[str, str | int]:
    """Return the context to which the sealed body of the message with this key is bound."""
    return {"kind": "outbox-body", "key": key}
