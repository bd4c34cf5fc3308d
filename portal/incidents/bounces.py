"""Incidents of bounces and complaints: rates beyond published limits, a receiver that blocks, and mass refusals.

The functions are listeners and work inside the transaction that records an outcome; none commits. Causes and fixes are stored in
English and translated where they are shown (portal/web/stored_sentences.py).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ..amounts import format_rate
from ..bounces import figures
from ..bounces.breaker import WINDOW
from ..bounces.meaning import BOUNCES, Meaning
from ..bounces.models import REFUSED, MessageOutcome
from ..clock import utcnow
from ..db import db
from ..deliveries import stats
from . import lifecycle
from .lifecycle import Failure
from .models import EndReason, IncidentKind

if TYPE_CHECKING:
    from ..bounces.models import BounceBreaker
    from ..bounces.outcomes import OutcomeChange

RATE_DAYS = 7  # over which a rate is computed, with today
BLOCKED_MESSAGES = 10  # of one receiving domain within an hour
COMPLAINTS, UNKNOWN_RATE = "complaint-rate", "bounce-rate"
BLOCKED, MASS_REFUSALS = "receiver-blocks", "mass-refusals"


def on_outcome_change(change: OutcomeChange) -> None:
    """Open or extend an incident if this outcome makes the number of blocked messages too high."""
    if change.after is Meaning.BLOCKED:
        outcome = change.outcome
        _check_blocks(outcome.account_id, outcome.domain, outcome.reason, utcnow())


def on_batch(account_id: int, meanings: frozenset[Meaning]) -> None:
    """Open or extend an incident if the outcomes of a batch make a rate too high. A rate is computed once for each batch."""
    if not meanings.isdisjoint({*BOUNCES, Meaning.COMPLAINT}):
        _check_rates(account_id, utcnow())


def on_breaker(breaker: BounceBreaker) -> None:
    """Open an incident when suppression waits for the owner, and close it when the owner has decided."""
    now = utcnow()
    if breaker.closed_at is None:
        cause = (
            f"Very many mailboxes at {breaker.domain} were reported as unknown within an hour. Until you "
            "decide, Signet does not stop writing to any more of them."
        )
        fix = "Open Bounces, look at the addresses, and choose whether to keep writing to them."
        _record(breaker.account_id, _diagnosis(MASS_REFUSALS, cause, fix), breaker.domain, now)
        return
    for incident in lifecycle.open_incidents(breaker.account_id, lock=True):
        if incident.cause == MASS_REFUSALS and incident.server == breaker.domain:
            lifecycle.close(incident, EndReason.DECIDED, now=now)


def _check_rates(account_id: int, now: datetime) -> None:
    since = (now - timedelta(days=RATE_DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    found = figures.read(account_id, since, accepted=stats.count_sent(account_id, since))
    if found.accepted < figures.MIN_MESSAGES:
        return
    if found.complaint_rate >= figures.COMPLAINT_LIMIT:
        rate, limit = format_rate(found.complaint_rate), format_rate(figures.COMPLAINT_LIMIT)
        cause = (
            f"Recipients called {rate} of your emails delivered in the last {RATE_DAYS} days spam. Google "
            f"and Yahoo ask for less than {limit}."
        )
        fix = (
            "Write only to people who asked for your emails, and write less often. Otherwise many "
            "receivers may soon refuse your emails."
        )
        _record(account_id, _diagnosis(COMPLAINTS, cause, fix), "", now)
    if found.bounce_rate >= figures.BOUNCE_LIMIT:
        rate, limit = format_rate(found.bounce_rate), format_rate(figures.BOUNCE_LIMIT)
        cause = (
            f"{rate} of your emails in the last {RATE_DAYS} days bounced. Amazon reviews senders at "
            f"{limit} or more, and other providers do the same."
        )
        fix = "Look at the bounced emails in the delivery log and find out where these addresses come from."
        _record(account_id, _diagnosis(UNKNOWN_RATE, cause, fix), "", now)


def _check_blocks(account_id: int, domain: str, reason: str, now: datetime) -> None:
    blocked = select(func.count()).where(
        MessageOutcome.account_id == account_id,
        MessageOutcome.domain == domain,
        MessageOutcome.meaning == Meaning.BLOCKED,
        REFUSED,
        MessageOutcome.noted_at > now - WINDOW,
    )
    if (db.session.scalar(blocked) or 0) < BLOCKED_MESSAGES:
        return
    cause = f"{domain} blocks your emails because of its policy, your reputation or their content."
    fix = "Open Sending domain and add what is missing. The receiver’s reply below states the reason."
    _record(account_id, _diagnosis(BLOCKED, cause, fix), domain, now, reason)


def _diagnosis(code: str, cause: str, fix: str) -> dict[str, Any]:
    return {"code": code, "kind": "reputation", "whose_move": "owner", "cause": cause, "fixes": [fix]}


def _record(account_id: int, diagnosis: dict[str, Any], server: str, now: datetime, reason: str = "") -> None:
    failure = Failure(
        account_id,
        IncidentKind.BOUNCES,
        diagnosis,
        server,
        reply_text=reason,
        alert_delay=timedelta(),
    )
    lifecycle.record_failure(failure, now=now)
