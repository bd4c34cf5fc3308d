"""Detection: settled delivery attempts, login probes and domain changes open, extend or close incidents.

The functions are registered as listeners and work inside the transaction that records the result; none commits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from ..clock import utcnow
from ..db import db
from ..outbox import rate_limits
from ..outbox.models import DeliveryAttempt, OutboxMessage, Outcome
from ..outbox.queue import get_queue
from ..settings import login_probe
from ..settings.versions import release_queue
from ..smtp.diagnosis.diagnose import RetryClass
from ..smtp.failure import Stage
from . import expiry, failover, lifecycle, policy
from .lifecycle import Failure
from .models import EndReason, Incident, IncidentKind, OnFailure, TimelineKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..domains.models import DomainChange
    from ..outbox.store.types import Claim
    from ..settings.login_probe import ProbeResult
    from ..settings.models import SmtpSettings

BURST_WINDOW = timedelta(hours=1)
_BURST_MIN = 10  # attempts with the same refusal
_BURST_SHARE = 0.5  # of all attempts in the window
_BURST_SAMPLE = (
    200  # attempts read at most, so that a flood of refusals does not read the whole log each time
)
_BURST_DIAGNOSIS = {
    "kind": "recipient",
    "whose_move": "owner",
    "fixes": [
        "Look at the addresses below: were they imported, or typed by robots on the sign-up page?",
        "Stop what adds them before your provider stops you: very many refused addresses cost its trust.",
    ],
}
_QUEUE_CLASSES = (RetryClass.SETTINGS, RetryClass.SERVER, RetryClass.RATE)  # failures of the whole queue
_MESSAGE_CLASSES = (RetryClass.RECIPIENT, RetryClass.MESSAGE)  # failures of one message
_NOT_DISPROVED = {Stage.RCPT.value, Stage.DATA.value}  # a login ends before these stages


@dataclass(frozen=True)
class SettledAttempt:
    """One settled delivery attempt. ``diagnosis`` is None when the server accepted the message."""

    account_id: int
    message_id: int
    outcome: Outcome
    server: str
    version_number: int | None
    stage: str = ""
    reply_code: int | None = None
    reply_text: str = ""
    diagnosis: Mapping[str, Any] | None = None


def concerns_acceptance(account_id: int | None, claim: Claim) -> bool:
    """Whether the acceptance of a message may end an incident: one of sending."""
    if account_id is None or claim.message.forced_version_id is not None:
        return False
    return lifecycle.has_open_incident(account_id, IncidentKind.SENDING)


def on_attempt_settled(
    account_id: int | None,
    claim: Claim,
    outcome: Outcome,
    diagnosis: Mapping[str, Any] | None,
    server: str,
) -> None:
    """Process an attempt that the outbox settled. The portal's own mail and checks of drafts are no incidents."""
    if account_id is None or claim.message.forced_version_id is not None:
        return
    if outcome is Outcome.ACCEPTED and not concerns_acceptance(account_id, claim):
        return
    row = DeliveryAttempt.__table__.c
    query = select(row.version_number, row.stage, row.reply_code, row.reply_text)
    version, stage, code, text = db.session.execute(query.where(row.id == claim.attempt_id)).one()
    known = (account_id, claim.message.id, outcome, server, version, stage, code, text)
    process(SettledAttempt(*known, diagnosis=diagnosis), now=utcnow())


def on_domain_change(change: DomainChange) -> None:
    """Open an incident when a domain's records became worse; close it when they are as good as before."""
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
        failure = Failure(
            change.account_id, IncidentKind.DOMAIN, diagnosis, change.domain, alert_delay=timedelta()
        )
        lifecycle.record_failure(failure, now=now)
        return
    for incident in lifecycle.open_incidents(change.account_id, lock=True):
        if incident.kind is IncidentKind.DOMAIN and incident.server == change.domain:
            lifecycle.close(incident, EndReason.OVER, now=now)


def on_login_probe(result: ProbeResult) -> None:
    """Record a failed login probe of a live version, or close the incidents that a successful one disproves."""
    version, now = result.version, utcnow()
    if result.diagnosis is None:
        _close_after_login(version, now)
        expiry.check(version, result.probe, now=now)
        return
    failure = Failure(
        account_id=version.account_id,
        kind=IncidentKind.SENDING,
        diagnosis=result.diagnosis,
        server=result.server,
        version_number=version.number,
        stage=result.stage,
        reply_code=result.reply_code,
        reply_text=result.reply_text,
    )
    lifecycle.record_failure(failure, now=now)


def process(attempt: SettledAttempt, *, now: datetime) -> None:
    """Open, extend or close incidents by the outcome of one attempt. The caller commits."""
    if attempt.outcome is Outcome.ACCEPTED:
        _close_after_acceptance(attempt, now)
    elif attempt.diagnosis is not None:
        _record_failed_attempt(attempt, attempt.diagnosis, now)


def _close_after_login(version: SmtpSettings, now: datetime) -> None:
    """Close what a successful login disproves, end the failover, and release the queue unless the owner stopped it."""
    own = [
        incident
        for incident in lifecycle.open_incidents(version.account_id)
        if incident.kind is IncidentKind.SENDING and incident.version_number == version.number
    ]
    disproved = [incident for incident in own if incident.stage not in _NOT_DISPROVED]
    if len(disproved) < len(own):
        return
    failover.end(version, now=now)
    for incident in disproved:
        lifecycle.close(incident, EndReason.PROVED, now=now)
    queue = get_queue(version.account_id)
    stopped = policy.get(version.account_id).on_failure is OnFailure.STOP
    if disproved and queue.held_at is not None and not stopped:
        release_queue(version.account_id)


def _close_after_acceptance(attempt: SettledAttempt, now: datetime) -> None:
    """Close the incidents of the route that works again, and those of settings that were replaced."""
    if not lifecycle.has_open_incident(attempt.account_id, IncidentKind.SENDING):
        return
    for incident in lifecycle.open_incidents(attempt.account_id, lock=True):
        if incident.kind is not IncidentKind.SENDING:
            continue
        # An incident without a server means that there was no route; any acceptance disproves that.
        same_server = incident.server in (attempt.server, "")
        if same_server and incident.version_number == attempt.version_number:
            lifecycle.close(incident, EndReason.FLOWS, now=now)
        elif attempt.version_number is not None and incident.version_number != attempt.version_number:
            lifecycle.close(incident, EndReason.REPLACED, now=now)


def _record_failed_attempt(attempt: SettledAttempt, diagnosis: Mapping[str, Any], now: datetime) -> None:
    failure = Failure(
        account_id=attempt.account_id,
        kind=IncidentKind.SENDING,
        diagnosis=diagnosis,
        server=attempt.server,
        version_number=attempt.version_number,
        message_id=attempt.message_id,
        stage=attempt.stage,
        reply_code=attempt.reply_code,
        reply_text=attempt.reply_text,
    )
    retry_class = diagnosis.get("retry_class")
    if retry_class in _QUEUE_CLASSES or (retry_class is None and attempt.outcome is Outcome.HELD):
        _react(lifecycle.record_failure(failure, now=now), now)
    elif retry_class in _MESSAGE_CLASSES:
        _detect_burst(failure, now)


def _react(incident: Incident, now: datetime) -> None:
    """Throttle after a rate limit, else probe the login soon; stop retries if the owner's policy requires it."""
    if incident.diagnosis.get("retry_class") == RetryClass.RATE:
        rate_limits.throttle(incident.account_id, now)
    elif incident.attempts <= 1:
        login_probe.schedule_soon(incident.account_id, incident.version_number, now=now)
    if incident.blocks_queue and policy.get(incident.account_id).on_failure is OnFailure.STOP:
        queue = get_queue(incident.account_id)
        if queue.next_probe_at is not None:
            queue.next_probe_at = None
            lifecycle.add_timeline_entry(incident, TimelineKind.STOPPED, now=now)


def _detect_burst(refusal: Failure, now: datetime) -> None:
    """Record an incident when very many recipients are refused for the same reason; a single refusal is none."""
    burst = _as_burst(refusal)
    if _is_burst_open(burst) or _is_burst(refusal, now):
        lifecycle.record_failure(burst, now=now)


def _as_burst(refusal: Failure) -> Failure:
    cause = str(refusal.diagnosis.get("cause", "")).strip()
    host = refusal.server.rpartition(":")[0] or "The server"
    diagnosis = _BURST_DIAGNOSIS | {
        "code": f"many-{refusal.cause}"[:80],
        "cause": f"{host} refuses very many emails for the same reason: {cause}",
        "retry_class": "recipient",
    }
    return replace(refusal, kind=IncidentKind.RECIPIENTS, diagnosis=diagnosis, alert_delay=timedelta())


def _is_burst_open(burst: Failure) -> bool:
    query = select(Incident.id).where(
        Incident.account_id == burst.account_id,
        Incident.cause == burst.cause,
        Incident.server == burst.server,
        Incident.is_open,
    )
    return db.session.scalar(query) is not None


def _is_burst(refusal: Failure, now: datetime) -> bool:
    """Whether this refusal ended at least ten attempts of the last hour, and more than half of them."""
    code = DeliveryAttempt.diagnosis["code"].as_string()
    query = (
        select(DeliveryAttempt.outcome, code)
        .join(OutboxMessage, OutboxMessage.id == DeliveryAttempt.message_id)
        .where(
            OutboxMessage.account_id == refusal.account_id,
            OutboxMessage.forced_version_id.is_(None),
            DeliveryAttempt.started_at > now - BURST_WINDOW,
            DeliveryAttempt.outcome != Outcome.STARTED,
        )
        .order_by(DeliveryAttempt.started_at.desc())
        .limit(_BURST_SAMPLE)
    )
    attempts = db.session.execute(query).all()
    same = sum(outcome is Outcome.REJECTED and code == refusal.cause for outcome, code in attempts)
    return bool(same >= _BURST_MIN and same > _BURST_SHARE * len(attempts))
