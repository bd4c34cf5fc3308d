"""What one attempt came to, recorded with the message as part of the present transaction. The caller commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from ...db import db
from ...db.transaction import db_now
from ...smtp.failure import Stage, SubmissionFailure
from ...state import current_config
from .. import callbacks, retry
from ..diagnoses import INTERNAL_ERROR, POSSIBLY_DELIVERED, UNSENDABLE
from ..models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from ..queue import get_queue, hold, release
from ..store import acceptance_log
from ..store.settle import settle, settle_accepted

if TYPE_CHECKING:
    from ...smtp.diagnosis.diagnose import Diagnosis
    from ...smtp.protocol.envelope import Acceptance
    from ..routing import Route
    from ..store.types import Claim

_POISON_TRIES = 3
# A refusal this late concerns one message: name, TLS, log-in and sender were all accepted before it.
_PROVEN = (Stage.RCPT, Stage.DATA)
_LONGEST_PAUSE = timedelta(minutes=30)
_DOUBT_LASTS = timedelta(minutes=30)  # before it is looked whether the first server is used again
_WIDEST = 4  # connections up to which a queue opens step by step after trouble


@dataclass(frozen=True)
class Result:
    """What one attempt came to. ``diagnosis`` is None when the message was accepted.

    ``settled`` is False when the claim was lost meanwhile: then it is another worker's result that counts.
    ``stops`` tells that nothing else of the queue shall leave before it is looked at again.
    """

    accepted: bool
    diagnosis: Mapping[str, Any] | None = None
    failure: SubmissionFailure | None = None
    transcript: str = ""
    settled: bool = True
    stops: bool = False


# Records what became of a message, as part of a transaction; it may be run again when that failed.
Verdict = Callable[[], Result]

LOST = Result(accepted=False, settled=False, stops=True)


@dataclass(frozen=True)
class Accepted:
    """The server took the message: what stopped the queue is over."""

    claim: Claim
    route: Route
    acceptance: Acceptance
    transcript: str
    pinned: bool

    def __call__(self) -> Result:
        return _accepted([self])[0]


def recorded(verdicts: Iterable[Verdict]) -> list[Result]:
    """Record what became of several messages: of those that were accepted, and of the one after which it ended."""
    known = list(verdicts)
    taken = [one for one in known if isinstance(one, Accepted)]
    return _accepted(taken) + [one() for one in known if not isinstance(one, Accepted)]


def _accepted(taken: Sequence[Accepted]) -> list[Result]:
    now = db_now()
    attempts = [
        (one.claim, {**acceptance_log.reply_of(one.acceptance), "transcript": one.transcript})
        for one in taken
    ]
    held = settle_accepted(attempts, now=now)
    return [_told(one, now) if mine else LOST for one, mine in zip(taken, held, strict=True)]


def _told(one: Accepted, now: datetime) -> Result:
    if one.claim.first and not one.pinned:
        _recover(one.claim.message.account_id, now)
    callbacks.notify(one.claim, Outcome.ACCEPTED, None, one.route.server.address)
    return Result(accepted=True, transcript=one.transcript)


def refused(
    claim: Claim, route: Route, failure: SubmissionFailure, transcript: str, *, pinned: bool
) -> Result:
    """The message was not accepted: ask the diagnosis what that means, and settle accordingly."""
    now, account_id = db_now(), claim.message.account_id
    diagnosis = route.explain(failure)
    decision = _decide(claim, diagnosis, failure, now=now, pinned=pinned)
    attempt = _described(decision, diagnosis, failure, transcript)
    held = not pinned and get_queue(account_id).held_at is not None
    proven = failure.stage in _PROVEN and not decision.hold
    status = _status(claim, decision, stays_held=held and not proven)
    if not settle(claim, now=now, status=status, attempt=attempt, next_attempt_at=decision.again_at):
        return LOST
    if not pinned:
        _steer(account_id, decision, diagnosis, failure, held=held, proven=proven, now=now)
    callbacks.notify(claim, decision.outcome, diagnosis.as_dict(), route.server.address)
    stops = decision.hold or decision.pause
    return Result(False, diagnosis.as_dict(), failure, transcript, stops=stops)


def no_route(claim: Claim, because: Mapping[str, Any], *, pinned: bool) -> Result:
    """There is no way out at present, which is no message's fault."""
    now, account_id = db_now(), claim.message.account_id
    over = pinned or claim.message.is_test
    attempt = {"outcome": Outcome.HELD, "diagnosis": dict(because)}
    status = Status.FAILED if over else Status.HELD
    if not settle(claim, now=now, status=status, attempt=attempt):
        return LOST
    if not pinned:
        hold(account_id, because, now=now)
    callbacks.notify(claim, Outcome.HELD, because)
    return Result(accepted=False, diagnosis=because, stops=True)


def in_doubt(claim: Claim) -> Result:
    """The message waits for the server that may hold it, as long as any message is tried, and is then given up."""
    now = db_now()
    query = select(func.min(DeliveryAttempt.started_at)).where(DeliveryAttempt.message_id == claim.message.id)
    over = now > (db.session.scalar(query) or now) + retry.GIVE_UP_AFTER
    attempt = {"outcome": Outcome.REJECTED if over else Outcome.HELD, "diagnosis": dict(POSSIBLY_DELIVERED)}
    status = Status.FAILED if over else Status.QUEUED
    if not settle(claim, now=now, status=status, attempt=attempt, next_attempt_at=now + _DOUBT_LASTS):
        return LOST
    return Result(accepted=False, diagnosis=POSSIBLY_DELIVERED)


def not_sendable(claim: Claim) -> Result:
    """The message itself can never leave."""
    attempt = {"outcome": Outcome.REJECTED, "diagnosis": dict(UNSENDABLE)}
    if not settle(claim, now=db_now(), status=Status.FAILED, attempt=attempt):
        return LOST
    callbacks.notify(claim, Outcome.REJECTED, UNSENDABLE)
    return Result(accepted=False, diagnosis=UNSENDABLE)


def poisoned(claim: Claim, fault: str, *, pinned: bool) -> Result:
    """A fault of ours: after three tries the message is set aside, lest it stop the queue.

    ``fault`` is the traceback, for the operator.
    """
    now = db_now()
    over = pinned or claim.message.is_test or claim.tries >= _POISON_TRIES
    outcome = Outcome.REJECTED if over else Outcome.DEFERRED
    settled = settle(
        claim,
        now=now,
        status=Status.FAILED if over else Status.QUEUED,
        attempt={"outcome": outcome, "diagnosis": dict(INTERNAL_ERROR), "traceback": fault},
        next_attempt_at=now + retry.delay(claim.tries),
    )
    if not settled:
        return LOST
    callbacks.notify(claim, outcome, INTERNAL_ERROR)
    return Result(accepted=False, diagnosis=INTERNAL_ERROR, stops=True)


def _decide(
    claim: Claim, diagnosis: Diagnosis, failure: SubmissionFailure, *, now: datetime, pinned: bool
) -> retry.Decision:
    if pinned:  # a check answers at once: it is the owner who tries again
        return retry.Decision(Outcome.REJECTED)
    counted = [DeliveryAttempt.message_id == claim.message.id, DeliveryAttempt.outcome != Outcome.HELD]
    renewed = db.session.scalar(
        select(OutboxMessage.retries_reset_at).where(OutboxMessage.id == claim.message.id)
    )
    if renewed is not None:
        counted.append(DeliveryAttempt.started_at >= renewed)
    since = db.session.scalar(select(func.min(DeliveryAttempt.started_at)).where(*counted)) or now
    return retry.decide(diagnosis, attempts=claim.tries, since=since, now=now, ambiguous=failure.ambiguous)


def _described(
    decision: retry.Decision, diagnosis: Diagnosis, failure: SubmissionFailure, transcript: str
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "outcome": decision.outcome,
        "stage": failure.stage,
        "ambiguous": failure.ambiguous,
        "diagnosis": dict(diagnosis.as_dict()),
        "transcript": transcript,
    }
    if failure.reply:
        values |= {
            "reply_code": failure.reply.code,
            "enhanced_code": (failure.reply.enhanced or "")[:12],
            "reply_text": failure.reply.text[:500],
        }
    return values


def _status(claim: Claim, decision: retry.Decision, *, stays_held: bool) -> Status:
    if (
        decision.outcome is Outcome.REJECTED or claim.message.is_test
    ):  # a test is over; the trouble may still hold
        return Status.FAILED
    return Status.HELD if decision.hold or stays_held else Status.QUEUED


def _recover(account_id: int | None, now: datetime) -> None:
    """The server took a message: end what stopped the queue, and open it step by step."""
    queue = get_queue(account_id)
    calm = queue.held_at is None and queue.paused_until is None and not queue.consecutive_failures
    if calm and queue.healthy and queue.ramp_limit is None:
        return
    queue = get_queue(account_id, lock=True)
    queue.paused_until, queue.consecutive_failures, queue.healthy = None, 0, True
    if queue.held_at is not None:  # a probe or a test went through
        release(account_id, now=now)
    _widen(queue)


def _widen(queue: Queue) -> None:
    """After trouble a queue opens step by step: one message, one connection, two, four, then all."""
    if queue.ramp_limit is not None:
        wider = max(1, 2 * queue.ramp_limit)
        queue.ramp_limit = wider if wider <= _WIDEST else None


def _steer(
    account_id: int | None,
    decision: retry.Decision,
    diagnosis: Diagnosis,
    failure: SubmissionFailure,
    *,
    held: bool,
    proven: bool,
    now: datetime,
) -> None:
    """Hold, pause or release the account's queue after a failure."""
    queue = get_queue(account_id, lock=True)
    queue.healthy = failure.reply is not None
    if decision.hold:
        hold(account_id, diagnosis.as_dict(), now=now)
    elif held and proven:
        release(account_id, now=now)
    elif held:
        queue.next_probe_at = decision.again_at or now + retry.delay(queue.failed_probes)
    if decision.pause:
        _pause(queue, now)
    elif proven:
        _widen(queue)


def _pause(queue: Queue, now: datetime) -> None:
    """Leave a server in trouble alone for a while, longer each time; its messages are not to blame."""
    queue.consecutive_failures += 1
    queue.ramp_limit = 0
    longest = _LONGEST_PAUSE * current_config().retry_pace
    queue.paused_until = now + min(retry.delay(queue.consecutive_failures), longest)
