"""The breaker: very many unknown mailboxes of one domain at once are more likely an error of that domain's servers.

While it is open, no mailbox of the domain is suppressed. The owner decides whether all of them are, or none; the
suppressions of the hour before it opened are undone with them. No function commits unless its docstring states it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, TextClause, func, select

from .. import audit
from ..affiliates import suppressions
from ..affiliates.models import SuppressionReason
from ..affiliates.suppressions import SuppressionCause
from ..db import db, insert
from ..state import get_state
from . import outcomes
from .meaning import Meaning
from .models import REFUSED, BounceBreaker, BreakerDecision, MessageOutcome, SuppressionEffect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from flask import Flask

WINDOW = timedelta(hours=1)
MAX_MAILBOXES = 20  # of one domain within the window
MAX_SHARE = 10  # of as many messages to the domain, one
SENT_WITHIN = timedelta(days=1)
_BATCH = 200  # mailboxes of one transaction

# (account id, domain, since, limit) -> how many messages to the domain were enqueued since, at most ``limit``
Counter = Callable[[int, str, "datetime", int], int]
Listener = Callable[[BounceBreaker], None]


def _none(_account_id: int, _domain: str, _since: datetime, _limit: int) -> int:
    return 0


@dataclass
class _BreakerCallbacks:
    count_messages: Counter = _none
    listeners: list[Listener] = field(default_factory=list)


def register_counter(app: Flask, counter: Counter) -> None:
    """Count the messages to a domain by this function, which the room of the delivery log provides."""
    get_state(app).part(_BreakerCallbacks).count_messages = counter


def add_listener(app: Flask, listener: Listener) -> None:
    """Call ``listener`` when a breaker opens or closes, in that transaction."""
    get_state(app).part(_BreakerCallbacks).listeners.append(listener)


def effect_of(outcome: MessageOutcome, *, now: datetime) -> SuppressionEffect:
    """Return what a hard bounce does to its mailbox; opens the breaker of the domain if this one is too many."""
    account_id, domain = outcome.account_id, outcome.domain
    found = _newest(account_id, domain)
    if found is not None and found.closed_at is None:
        # The row is not written: a drain holds its queue's lock here, which a decision takes after the row.
        return SuppressionEffect.WAITS
    if found is not None and found.closed_at is not None and found.closed_at > now - WINDOW:
        # The owner has decided about the reports of this hour.
        is_kept = found.decision is BreakerDecision.KEEP
        return SuppressionEffect.DISMISSED if is_kept else SuppressionEffect.SUPPRESSED
    if not _is_too_many(account_id, domain, now):
        return SuppressionEffect.SUPPRESSED
    _open(account_id, domain, now)
    return SuppressionEffect.WAITS


def list_open(account_id: int) -> Sequence[BounceBreaker]:
    """Return the open breakers of an account, newest first."""
    query = select(BounceBreaker).where(
        BounceBreaker.account_id == account_id, BounceBreaker.closed_at.is_(None)
    )
    return db.session.scalars(query.order_by(BounceBreaker.id.desc()).limit(50)).all()


def find_open(account_id: int, breaker_id: int) -> BounceBreaker | None:
    """Return an open breaker of this account. No event of the account is processed until the caller commits."""
    outcomes.lock_account(account_id)
    query = select(BounceBreaker).where(
        BounceBreaker.id == breaker_id,
        BounceBreaker.account_id == account_id,
        BounceBreaker.closed_at.is_(None),
    )
    return db.session.scalar(query.with_for_update())


def count_by_effect(breaker: BounceBreaker) -> dict[SuppressionEffect, int]:
    """Return how many mailboxes wait, and how many were suppressed within the hour before the breaker opened."""
    query = select(MessageOutcome.effect, func.count(MessageOutcome.mailbox_key.distinct()))
    rows = db.session.execute(query.where(*_concerned(breaker)).group_by(MessageOutcome.effect))
    return dict(rows.all())


def decide(breaker: BounceBreaker, decision: BreakerDecision, *, now: datetime) -> int:
    """Suppress all mailboxes of an open breaker, or none; return how many are as decided. Commits each batch.

    None means that refusals and reports do not: a mailbox that complained, or that the owner chose, stays suppressed.

    The breaker closes with the last batch. After a call that broke off it is open, and the next one goes on.
    """
    account_id, breaker_id, mailboxes = breaker.account_id, breaker.id, set[str]()
    found: BounceBreaker | None = breaker
    while found is not None:
        number, decided = _decide_batch(found, decision, now)
        mailboxes.update(decided)
        if number < _BATCH:
            found.closed_at, found.decision = now, decision
            for listener in get_state().part(_BreakerCallbacks).listeners:
                listener(found)
            after = {"domain": found.domain, "decision": decision.value}
            audit.record(audit.Activity.BOUNCES_DECIDED, account_id, after=after)
            db.session.commit()
            break
        db.session.commit()
        found = find_open(account_id, breaker_id)
    return len(mailboxes)


def _decide_batch(breaker: BounceBreaker, decision: BreakerDecision, now: datetime) -> tuple[int, set[str]]:
    """Apply a decision to some of the outcomes that it changes; return their number, and the mailboxes that are as decided."""
    is_kept = decision is BreakerDecision.KEEP
    changed = {SuppressionEffect.WAITS, *({SuppressionEffect.SUPPRESSED} if is_kept else ())}
    query = select(MessageOutcome).where(*_concerned(breaker), MessageOutcome.effect.in_(changed))
    batch = db.session.scalars(query.limit(_BATCH)).all()
    for outcome in batch:
        if not is_kept:
            cause = SuppressionCause(SuppressionReason.BOUNCED, outcome.reason, outcome.message_id)
            suppressions.suppress_because(outcome.account_id, outcome.mailbox_key, cause, now=now)
        outcome.effect = SuppressionEffect.DISMISSED if is_kept else SuppressionEffect.SUPPRESSED
    messages = {outcome.message_id: outcome.mailbox_key for outcome in batch}
    others = suppressions.undo_reports(breaker.account_id, messages) if is_kept else set()
    return len(batch), set(messages.values()) - others


def _concerned(breaker: BounceBreaker) -> tuple[ColumnElement[bool] | TextClause, ...]:
    return (
        MessageOutcome.account_id == breaker.account_id,
        MessageOutcome.domain == breaker.domain,
        MessageOutcome.meaning == Meaning.HARD,
        REFUSED,
        MessageOutcome.noted_at >= breaker.opened_at - WINDOW,
    )


def _newest(account_id: int, domain: str) -> BounceBreaker | None:
    query = select(BounceBreaker).where(
        BounceBreaker.account_id == account_id, BounceBreaker.domain == domain
    )
    return db.session.scalar(query.order_by(BounceBreaker.id.desc()).limit(1))


def _is_too_many(account_id: int, domain: str, now: datetime) -> bool:
    mailboxes = (
        select(MessageOutcome.mailbox_key)
        .where(
            MessageOutcome.account_id == account_id,
            MessageOutcome.domain == domain,
            MessageOutcome.meaning == Meaning.HARD,
            REFUSED,
            MessageOutcome.noted_at > now - WINDOW,
            MessageOutcome.effect != SuppressionEffect.DISMISSED,
        )
        .distinct()
        .limit(1000)
    )
    number = db.session.scalar(select(func.count()).select_from(mailboxes.subquery())) or 0
    if number <= MAX_MAILBOXES:
        return False
    limit = number * MAX_SHARE
    count = get_state().part(_BreakerCallbacks).count_messages
    return count(account_id, domain, now - SENT_WITHIN, limit) < limit


def _open(account_id: int, domain: str, now: datetime) -> None:
    values = {"account_id": account_id, "domain": domain, "opened_at": now, "last_seen_at": now}
    statement = insert(BounceBreaker).values(values).on_conflict_do_nothing().returning(BounceBreaker)
    breaker = db.session.scalar(statement)
    if breaker is None:
        return  # a drain has opened it at the same moment
    for listener in get_state().part(_BreakerCallbacks).listeners:
        listener(breaker)
