"""Promises: enqueue, hold, release, withdraw. Each works inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, exists, func, literal, or_, text, update

from ..db import db, insert
from ..db.prepared import PreparedStatement
from ..db.transaction import db_now, flush_session
from ..jobs import backoff, notify
from ..state import current_config, vault
from .models import OPEN, OutboxMessage, Queue, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime


# The portal's own mail has no account; the worker knows its queue by this id.
SYSTEM = 0
_STATUS = OutboxMessage.__table__.c.status.type


@dataclass(frozen=True)
class NewMessage:
    """A rendered message to be owed. ``key`` makes it unique: the same key is never owed twice.

    ``unsubscribe_url`` goes into List-Unsubscribe: a POST there ends such mail (RFC 8058). ``copy_of_id``
    names the message of which this is another copy.
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


def enqueue_row(account_id: int | None, new: NewMessage, *, now: datetime) -> OutboxMessage | None:
    """Owe a message as ``owe`` does, and return it; None when the key is already owed."""
    ident = enqueue(account_id, new, now=now)
    return db.session.get_one(OutboxMessage, ident) if ident is not None else None


def enqueue(account_id: int | None, new: NewMessage, *, now: datetime) -> int | None:
    """Owe a message as part of the present transaction, and return its id; the caller commits.

    Returns None when the key is already owed. ``account_id`` None is the portal's own mail: it goes
    through the operator's server only, sealed in the table and wiped when settled.
    """
    flush_session()
    dialect, queue = db.engine.dialect.name, account_id or SYSTEM
    _opening(dialect).rowcount(queue=queue)  # a sweep looks at queues, so there must be one
    private, pinned = account_id is None, new.forced_version_id is not None
    values: dict[str, Any] = {
        "account_id": account_id,
        "kind": new.kind,
        "key": new.key,
        "recipient": new.recipient,
        "recipient_name": new.recipient_name,
        "subject": new.subject,
        "text": seal_body(new.text, new.key) if private else new.text,
        "html": seal_body(new.html, new.key) if private and new.html else new.html,
        "is_sealed": private,
        "is_test": new.is_test,
        "forced_version_id": new.forced_version_id,
        "unsubscribe_url": new.unsubscribe_url,
        "copy_of_id": new.copy_of_id,
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": db_now(),
    }
    told: dict[str, Any] = {f"v_{name}": value for name, value in values.items()}
    told["queue"] = None if new.is_test or pinned else queue  # a test leaves even while the queue is held
    ident: int | None = _owing(dialect, tuple(values)).scalar(**told)
    if ident is not None and not pinned:
        notify.push_after_commit("drain", queue)
    return ident


@cache
def _opening(_dialect: str) -> PreparedStatement:
    values = {"failed_probes": 0, "consecutive_failures": 0, "generation": 0, "healthy": False}
    return PreparedStatement(
        insert(Queue).values(account_id=bindparam("queue"), **values).on_conflict_do_nothing()
    )


@cache
def _owing(_dialect: str, names: tuple[str, ...]) -> PreparedStatement:
    """The statement that owes a message, whose queue may be held at this very moment."""
    queue = Queue.__table__
    held = exists().where(queue.c.account_id == bindparam("queue"), queue.c.held_at.is_not(None))
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    values["status"] = case((held, literal(Status.HELD, _STATUS)), else_=literal(Status.QUEUED, _STATUS))
    statement = insert(OutboxMessage).values(values).on_conflict_do_nothing(index_elements=["key"])
    return PreparedStatement(statement.returning(OutboxMessage.__table__.c.id))


def get_queue(account_id: int | None, *, lock: bool = False) -> Queue:
    """Return the account's queue, made on first use; ``lock`` makes others wait who would change it, too."""
    ident = account_id or SYSTEM
    queue = db.session.get(Queue, ident)
    if queue is None:
        db.session.execute(
            insert(Queue)
            .values(account_id=ident, failed_probes=0, consecutive_failures=0, generation=0, healthy=False)
            .on_conflict_do_nothing()
        )
        queue = db.session.get_one(Queue, ident)
    if lock:
        db.session.flush()  # reading it anew would forget what this transaction has changed of it
        db.session.refresh(queue, with_for_update=True)
    return queue


def find_queue(account_id: int) -> Queue | None:
    """Return the account's queue, or None if nothing was ever sent. Creates no row, unlike ``get_queue``."""
    return db.session.get(Queue, account_id)


def hold(account_id: int | None, because: Mapping[str, Any], *, now: datetime) -> None:
    """Stop the account's queue: its settings are at fault, so no message is to blame. The caller commits.

    One message is tried again after a growing while: some troubles (a name server's, say) mend themselves.
    """
    queue = get_queue(account_id, lock=True)
    queue.held_at = queue.held_at or now
    queue.hold_diagnosis = dict(because)
    queue.failed_probes += 1
    config = current_config()
    delay = backoff.delay_after(queue.failed_probes, config.tuning.probe_delays_s)
    queue.next_probe_at = now + delay * config.retry_pace
    queue.ramp_limit = 0
    queue.generation += 1
    _move(account_id, Status.QUEUED, Status.HELD)


def release(account_id: int | None, *, now: datetime) -> int:
    """Let the account's queue move again; return how many messages had waited. The caller commits."""
    queue = get_queue(account_id, lock=True)
    queue.held_at = queue.hold_diagnosis = queue.next_probe_at = None
    queue.failed_probes = 0
    queue.generation += 1
    count = _move(account_id, Status.HELD, Status.QUEUED, next_attempt_at=db_now())
    notify.push_after_commit("drain", account_id or SYSTEM)
    return count


def cancel_pending(
    account_id: int, recipient: str, kinds: Collection[str], status: Status, *, now: datetime
) -> list[int]:
    """Let what waits for a recipient never leave; return which messages. The caller commits.

    What is being sent is left alone, and so are tests and checks. ``status`` is how they are settled.
    """
    get_queue(account_id, lock=True)  # as a worker does before it claims
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
        .values(status=status, settled_at=now)
        .returning(OutboxMessage.id)
    )
    return list(db.session.scalars(statement.execution_options(synchronize_session=False)))


def _move(account_id: int | None, old: Status, new: Status, **also: Any) -> int:
    statement = (
        update(OutboxMessage)
        .where(
            OutboxMessage.account_id == account_id,
            OutboxMessage.status == old,
            OutboxMessage.forced_version_id.is_(None),
        )
        .values(status=new, **also)
    )
    if new is Status.HELD:  # a test is exactly what may find out that the trouble is over
        statement = statement.where(OutboxMessage.is_test.is_(False))
    return int(db.session.execute(statement).rowcount)  # type: ignore[attr-defined]


def seal_body(body: str, key: str) -> str:
    """Seal a body that may hold a log-in link, for the message with this key alone."""
    return vault().seal(body, body_binding(key)).hex()


def open_body(sealed: str, key: str) -> str:
    """Open what ``seal_body`` sealed. Raises SealBroken."""
    return vault().open(bytes.fromhex(sealed), body_binding(key))


def body_binding(key: str) -> dict[str, str | int]:
    """What the body of the message with this key is sealed for."""
    return {"kind": "outbox-body", "key": key}
