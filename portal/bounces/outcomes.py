"""The outcome of a message: the highest meaning among its events, whatever their order. No function commits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from ..db import db, insert
from ..state import get_state
from .meaning import RANKS, Meaning
from .models import REFUSED_AT_ONCE, MessageOutcome, OutcomeHour

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from flask import Flask

    from ..outbox.models import OutboxMessage
    from .models import BounceEvent


_LOCK = 20_118  # of the advisory locks of PostgreSQL; the second number is the account


@dataclass(frozen=True)
class OutcomeChange:
    """A message whose outcome has changed. ``before`` is None if nothing was known of it."""

    outcome: MessageOutcome
    message: OutboxMessage
    before: Meaning | None

    @property
    def after(self) -> Meaning:
        return self.outcome.meaning


Listener = Callable[[OutcomeChange], None]
BatchListener = Callable[[int, "frozenset[Meaning]"], None]


@dataclass
class _OutcomeListeners:
    listeners: list[Listener] = field(default_factory=list)
    of_batches: list[BatchListener] = field(default_factory=list)


def add_listener(app: Flask, listener: Listener) -> None:
    """Call ``listener`` when the outcome of a message changes, in that transaction. It must not commit."""
    get_state(app).part(_OutcomeListeners).listeners.append(listener)


def add_batch_listener(app: Flask, listener: BatchListener) -> None:
    """Call ``listener`` after a batch of events, in its transaction, with the account and the meanings it made outcomes.

    It sees all outcomes of the batch, which no other transaction of the account follows before the commit. It must not commit.
    """
    get_state(app).part(_OutcomeListeners).of_batches.append(listener)


def end_batch(account_id: int, meanings: Iterable[Meaning]) -> None:
    """Call the listeners of batches, unless no outcome has changed."""
    changed = frozenset(meanings)
    for listener in get_state().part(_OutcomeListeners).of_batches if changed else ():
        listener(account_id, changed)


def lock_account(account_id: int) -> None:
    """Let no other transaction decide about the outcomes of an account until this one ends."""
    if db.engine.dialect.name == "postgresql":  # SQLite has one writer anyway
        lock = text("SELECT pg_advisory_xact_lock(:kind, :account)")
        db.session.execute(lock, {"kind": _LOCK, "account": account_id % 2**31})


def join(event: BounceEvent, message: OutboxMessage, *, now: datetime) -> OutcomeChange | None:
    """Let an event count for the outcome of its message; return the change, or None if the outcome stays.

    Complaint is above hard, blocked, soft, delivered and delayed, in this order. Of two events with one meaning the earlier
    one decides, so that any order of arrival ends in the same row.
    """
    rank = RANKS.get(event.meaning)
    if rank is None:
        return None
    outcome = db.session.get(MessageOutcome, message.id, populate_existing=True)
    reported = _if_reported(outcome)
    if reported is not None and _order(reported.meaning, reported.occurred_at, reported.event_key) >= _order(
        event.meaning, event.occurred_at, event.key
    ):
        return None
    before = reported.meaning if reported is not None else None
    if outcome is None:
        sent_at = message.settled_at or message.created_at
        outcome = add(event.account_id, message.id, message.recipient, sent_at=sent_at)
    outcome.meaning, outcome.source, outcome.event_key = event.meaning, event.source, event.key
    outcome.occurred_at = event.occurred_at
    if (
        before is not event.meaning
    ):  # else it was noted before, and does not count again for the hour of a breaker
        outcome.noted_at = now
    outcome.status, outcome.reply_code, outcome.reason = event.status, event.reply_code, event.reason
    outcome.is_listed = event.is_listed
    db.session.flush()
    if before is event.meaning:
        return None
    change = OutcomeChange(outcome, message, before)
    _count(change)
    for listener in get_state().part(_OutcomeListeners).listeners:
        listener(change)
    return change


def _order(meaning: Meaning, occurred_at: datetime, key: str) -> tuple[int, float, str]:
    return RANKS[meaning], -occurred_at.timestamp(), key


def find(message_id: int) -> MessageOutcome | None:
    """Return the outcome of a message, if one was reported after its acceptance."""
    return _if_reported(db.session.get(MessageOutcome, message_id))


def add(account_id: int, message_id: int, recipient: str, *, sent_at: datetime) -> MessageOutcome:
    """Add the outcome of a message to the session; the caller sets what became of the message."""
    mailbox = recipient.casefold()
    outcome = MessageOutcome(message_id=message_id, account_id=account_id, mailbox_key=mailbox)
    outcome.domain, outcome.sent_at = mailbox.rpartition("@")[2], sent_at
    db.session.add(outcome)
    return outcome


def _if_reported(outcome: MessageOutcome | None) -> MessageOutcome | None:
    return outcome if outcome is not None and outcome.source != REFUSED_AT_ONCE else None


def _count(change: OutcomeChange) -> None:
    """Move a message from one count of its hour to another."""
    outcome = change.outcome
    hour = outcome.sent_at.replace(minute=0, second=0, microsecond=0)
    for meaning, step in ((change.before, -1), (change.after, 1)):
        if meaning is None:
            continue
        key = {"account_id": outcome.account_id, "hour": hour, "meaning": meaning}
        statement = insert(OutcomeHour).values(**key, count=max(step, 0))
        statement = statement.on_conflict_do_update(
            index_elements=list(key), set_={"count": OutcomeHour.count + step}
        )
        db.session.execute(statement)
