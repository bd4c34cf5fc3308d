"""What one attempt came to, recorded with the message in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from ..clock import utcnow
from ..db import db
from ..smtp.diagnosis import Diagnosis
from ..smtp.envelope import Acceptance
from ..smtp.failure import Stage, SubmissionFailure
from . import claims, retry
from .claims import Claim
from .models import DeliveryAttempt, Outcome, Queue, Status
from .queue import hold, queue_of, release
from .route import Route

_POISON_TRIES = 3
# A refusal this late concerns one message: name, TLS, log-in and sender were all accepted before it.
_PROVEN = (Stage.RCPT, Stage.DATA)
_LONGEST_PAUSE = timedelta(minutes=30)

OUR_FAULT = {
    "code": "portal-fault",
    "kind": "server_fault",
    "whose_move": "operator",
    "cause": "Something in the portal itself went wrong while this email was being sent.",
    "fixes": ["Whoever runs this portal finds the details in the worker's log."],
}
NOT_SENDABLE = {
    "code": "message-not-sendable",
    "kind": "content",
    "whose_move": "operator",
    "cause": "This email could not be put together: it holds characters that no mail may carry.",
    "fixes": ["Sign the affiliate up again without unusual characters in the name."],
}


@dataclass(frozen=True)
class Result:
    """What one attempt came to. ``diagnosis`` is None when the message was accepted.

    ``settled`` is False when the claim was lost meanwhile: then it is another worker's result that counts.
    """

    accepted: bool
    diagnosis: Mapping[str, Any] | None = None
    failure: SubmissionFailure | None = None
    transcript: str = ""
    settled: bool = True


LOST = Result(accepted=False, settled=False)


def accepted(claim: Claim, acceptance: Acceptance, transcript: str, *, pinned: bool) -> Result:
    """The server took the message: what stopped the queue is over. Commits."""
    now, account_id = utcnow(), claim.message.account_id
    row, reply = claim.attempt, acceptance.reply
    row.outcome, row.stage, row.transcript = Outcome.ACCEPTED, Stage.DATA, transcript
    row.reply_code, row.enhanced_code, row.reply_text = reply.code, reply.enhanced or "", reply.text[:500]
    row.queue_id = (acceptance.queue_id or "")[:120]
    settled = claims.settle(claim, now=now, status=Status.SENT)
    if settled and not pinned:
        queue = queue_of(account_id)
        queue.pause_until, queue.troubles = None, 0
        if queue.held_at is not None:  # a probe or a test went through
            release(account_id, now=now)
    db.session.commit()
    return Result(accepted=True, transcript=transcript, settled=settled)


def refused(
    claim: Claim, route: Route, failure: SubmissionFailure, transcript: str, *, pinned: bool
) -> Result:
    """The message was not accepted: ask the diagnosis what that means, and settle accordingly. Commits."""
    now, account_id = utcnow(), claim.message.account_id
    diagnosis = route.explain(failure)
    decision = _decide(claim, diagnosis, failure, now=now, pinned=pinned)
    _describe(claim.attempt, decision, diagnosis, failure, transcript)
    held = not pinned and queue_of(account_id).held_at is not None
    proven = failure.stage in _PROVEN and not decision.hold
    status = _status(claim, decision, stays_held=held and not proven)
    settled = claims.settle(claim, now=now, status=status, next_attempt_at=decision.again_at)
    if settled and not pinned:
        _steer(account_id, decision, diagnosis, held=held, proven=proven, now=now)
    db.session.commit()
    return Result(False, diagnosis.as_dict(), failure, transcript, settled)


def no_route(claim: Claim, because: Mapping[str, Any], *, pinned: bool) -> Result:
    """There is no way out at present, which is no message's fault. Commits."""
    now, account_id = utcnow(), claim.message.account_id
    claim.attempt.outcome, claim.attempt.diagnosis = Outcome.HELD, dict(because)
    over = pinned or claim.message.urgent
    settled = claims.settle(claim, now=now, status=Status.FAILED if over else Status.HELD)
    if settled and not pinned:
        hold(account_id, because, now=now)
    db.session.commit()
    return Result(accepted=False, diagnosis=because, settled=settled)


def not_sendable(claim: Claim) -> Result:
    """The message itself can never leave. Commits."""
    claim.attempt.outcome, claim.attempt.diagnosis = Outcome.REJECTED, dict(NOT_SENDABLE)
    settled = claims.settle(claim, now=utcnow(), status=Status.FAILED)
    db.session.commit()
    return Result(accepted=False, diagnosis=NOT_SENDABLE, settled=settled)


def poisoned(claim: Claim, *, pinned: bool) -> Result:
    """A fault of ours: after three tries the message is set aside, lest it stop the queue. Commits."""
    db.session.rollback()
    now, tries = utcnow(), claim.message.attempts
    over = pinned or claim.message.urgent or tries >= _POISON_TRIES
    claim.attempt.outcome = Outcome.REJECTED if over else Outcome.DEFERRED
    claim.attempt.diagnosis = dict(OUR_FAULT)
    status = Status.FAILED if over else Status.QUEUED
    settled = claims.settle(claim, now=now, status=status, next_attempt_at=now + retry.delay(tries))
    db.session.commit()
    return Result(accepted=False, diagnosis=OUR_FAULT, settled=settled)


def _decide(
    claim: Claim, diagnosis: Diagnosis, failure: SubmissionFailure, *, now: datetime, pinned: bool
) -> retry.Decision:
    if pinned:  # a check answers at once: it is the owner who tries again
        return retry.Decision(Outcome.REJECTED)
    counted = [DeliveryAttempt.message_id == claim.message.id, DeliveryAttempt.outcome != Outcome.HELD]
    if claim.message.renewed_at is not None:
        counted.append(DeliveryAttempt.started_at >= claim.message.renewed_at)
    since = db.session.scalar(select(func.min(DeliveryAttempt.started_at)).where(*counted)) or now
    return retry.decide(
        diagnosis, attempts=claim.message.attempts, since=since, now=now, ambiguous=failure.ambiguous
    )


def _describe(
    row: DeliveryAttempt,
    decision: retry.Decision,
    diagnosis: Diagnosis,
    failure: SubmissionFailure,
    transcript: str,
) -> None:
    row.outcome, row.stage, row.ambiguous = decision.outcome, failure.stage, failure.ambiguous
    row.diagnosis, row.transcript = dict(diagnosis.as_dict()), transcript
    if failure.reply:
        row.reply_code, row.enhanced_code = failure.reply.code, failure.reply.enhanced or ""
        row.reply_text = failure.reply.text[:500]


def _status(claim: Claim, decision: retry.Decision, *, stays_held: bool) -> Status:
    if (
        decision.outcome is Outcome.REJECTED or claim.message.urgent
    ):  # a test is over; the trouble may still hold
        return Status.FAILED
    return Status.HELD if decision.hold or stays_held else Status.QUEUED


def _steer(
    account_id: int | None,
    decision: retry.Decision,
    diagnosis: Diagnosis,
    *,
    held: bool,
    proven: bool,
    now: datetime,
) -> None:
    """Hold, pause or release the account's queue after a failure."""
    queue = queue_of(account_id, lock=True)
    if decision.hold:
        hold(account_id, diagnosis.as_dict(), now=now)
    elif held and proven:
        release(account_id, now=now)
    elif held:
        queue.probe_at = decision.again_at or now + retry.delay(queue.probes)
    if decision.pause:
        _pause(queue, now)


def _pause(queue: Queue, now: datetime) -> None:
    """Leave a server in trouble alone for a while, longer each time; its messages are not to blame."""
    queue.troubles += 1
    queue.pause_until = now + min(retry.delay(queue.troubles), _LONGEST_PAUSE)
