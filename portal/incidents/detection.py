"""What the post room tells of every attempt, taken down as incidents in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..clock import utcnow
from ..db import db
from ..outbox import rate_limits
from ..outbox.models import DeliveryAttempt, Outcome
from ..outbox.queue import get_queue
from ..settings import login_probe
from ..settings.versions import release_queue
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage
from . import bursts, expiry, failover, lifecycle, open_cache, policy
from .lifecycle import Trouble
from .models import Ended, Happening, Incident, Kind, OnFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..domains.models import DomainChange
    from ..outbox.store.types import Claim
    from ..settings.login_probe import ProbeResult
    from ..settings.models import SmtpSettings

_TELLING = (RetryClass.SETTINGS, RetryClass.SERVER, RetryClass.RATE)
_NOT_DISPROVED = {Stage.RCPT.value, Stage.DATA.value}  # a login ends before these stages
_ONE_MESSAGE = (RetryClass.RECIPIENT, RetryClass.MESSAGE)


@dataclass(frozen=True)
class Settled:
    """One settled attempt. ``diagnosis`` is None when the server took the message."""

    account_id: int
    message_id: int
    outcome: Outcome
    server: str
    version_number: int | None
    stage: str = ""
    reply_code: int | None = None
    reply_text: str = ""
    diagnosis: Mapping[str, Any] | None = None


def hear(
    account_id: int | None,
    claim: Claim,
    outcome: Outcome,
    diagnosis: Mapping[str, Any] | None,
    server: str,
) -> None:
    """Take down what the post room tells. The portal's own mail and checks of drafts are nobody's trouble."""
    if account_id is None or claim.message.forced_version_id is not None:
        return
    if outcome is Outcome.ACCEPTED and not open_cache.any_of(account_id):
        return
    row = DeliveryAttempt.__table__.c
    query = select(row.version_number, row.stage, row.reply_code, row.reply_text)
    version, stage, code, words = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    known = (account_id, claim.message.id, outcome, server, version, stage, code, words)
    settled(Settled(*known, diagnosis=diagnosis), now=utcnow())


def hear_of_domain(change: DomainChange) -> None:
    """Open an incident when a domain's records became worse, and end it when they are as before."""
    now = utcnow()
    if change.ended_at is None:
        cause = f"The records of {change.domain} became worse. {change.reason}".strip()
        diagnosis = {
            "code": "domain-worse",
            "kind": "domain",
            "whose_move": "owner",
            "cause": cause,
            "fixes": ["Open the page Domain: it shows each record as it is and as it should be."],
        }
        trouble = Trouble(change.account_id, Kind.DOMAIN, diagnosis, change.domain, patience=timedelta())
        lifecycle.note(trouble, now=now)
        return
    for incident in lifecycle.open_ones(change.account_id, lock=True):
        if incident.kind is Kind.DOMAIN and incident.server == change.domain:
            lifecycle.close(incident, Ended.OVER, now=now)


def on_login_probe(result: ProbeResult) -> None:
    """Record a failed login probe of a live version, or close the incidents that a successful one disproves."""
    version, now = result.version, utcnow()
    if result.diagnosis is None:
        _logged_in(version, now)
        expiry.check(version, result.probe, now=now)
        return
    failure = Trouble(
        account_id=version.account_id,
        kind=Kind.SENDING,
        diagnosis=result.diagnosis,
        server=result.server,
        version_number=version.number,
        stage=result.stage,
        reply_code=result.reply_code,
        words=result.reply_text,
    )
    lifecycle.note(failure, now=now)


def _logged_in(version: SmtpSettings, now: datetime) -> None:
    """Close what a successful login disproves, end the failover, and release the queue unless the owner stopped it."""
    mine = [
        one
        for one in lifecycle.open_ones(version.account_id)
        if one.kind is Kind.SENDING and one.version_number == version.number
    ]
    over = [one for one in mine if one.stage not in _NOT_DISPROVED]
    if len(over) < len(mine):
        return
    failover.end(version, now=now)
    for incident in over:
        lifecycle.close(incident, Ended.PROVED, now=now)
    queue = get_queue(version.account_id)
    if over and queue.held_at is not None and policy.of(version.account_id).on_failure is not OnFailure.STOP:
        release_queue(version.account_id, now)


def settled(one: Settled, *, now: datetime) -> None:
    """Open, grow or close what this attempt tells of. The caller commits."""
    if one.outcome is Outcome.ACCEPTED:
        _flows(one, now)
    elif one.diagnosis is not None:
        _failed(one, one.diagnosis, now)


def _failed(one: Settled, diagnosis: Mapping[str, Any], now: datetime) -> None:
    trouble = Trouble(
        account_id=one.account_id,
        kind=Kind.SENDING,
        diagnosis=diagnosis,
        server=one.server,
        version_number=one.version_number,
        message_id=one.message_id,
        stage=one.stage,
        reply_code=one.reply_code,
        words=one.reply_text,
    )
    told = diagnosis.get("retry_class")
    if told in _TELLING or (told is None and one.outcome is Outcome.HELD):
        _noted(lifecycle.note(trouble, now=now), now)
    elif told in _ONE_MESSAGE:
        bursts.look(trouble, now=now)


def _noted(incident: Incident, now: datetime) -> None:
    """Do what follows from trouble with sending: slow down, look again soon, or stop at the owner's wish."""
    if incident.diagnosis.get("retry_class") == RetryClass.RATE:
        rate_limits.throttle(incident.account_id, now)
    elif incident.attempts <= 1:
        login_probe.schedule_soon(incident.account_id, incident.version_number, now=now)
    if incident.blocks_queue and policy.of(incident.account_id).on_failure is OnFailure.STOP:
        queue = get_queue(incident.account_id)
        if queue.next_probe_at is not None:
            queue.next_probe_at = None
            lifecycle.happened(incident, Happening.STOPPED, now=now)


def _flows(one: Settled, now: datetime) -> None:
    """End what this acceptance disproves: trouble on the same way, or of settings that were replaced."""
    if not open_cache.any_of(one.account_id):
        return
    for incident in lifecycle.open_ones(one.account_id, lock=True):
        if incident.kind is not Kind.SENDING:
            continue
        # Where there was no way out at all, no server is named, and any proves that there is one now.
        same_server = incident.server in (one.server, "")
        same_way = same_server and incident.version_number == one.version_number
        if same_way:
            lifecycle.close(incident, Ended.FLOWS, now=now)
        elif one.version_number is not None and incident.version_number != one.version_number:
            lifecycle.close(incident, Ended.REPLACED, now=now)
