"""Settles an attempt by its outcome: what happens to the message and to its queue, in the caller's transaction.

No function here commits. Each settles the message only while its claim is current, and returns a ``Result``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from ...db import db
from ...db.transaction import db_now
from ...smtp.diagnosis.diagnose import RetryClass
from ...smtp.failure import Reason, Stage, SubmissionFailure
from ...state import current_config
from .. import callbacks, retry
from ..diagnoses import INTERNAL_ERROR, POSSIBLY_DELIVERED, UNSENDABLE
from ..models import DeliveryAttempt, OutboxMessage, Outcome, Queue, Status
from ..queue import get_queue, hold, release
from ..store.attempts import reply_columns
from ..store.sql import get_store

if TYPE_CHECKING:
    from ...smtp.diagnosis.diagnose import Diagnosis
    from ...smtp.protocol.envelope import Acceptance
    from ..routing import Route
    from ..store.types import Claim, ScreenRefusal

# A refusal at these stages concerns one message: host name, TLS, log-in and sender were accepted before.
_AFTER_SENDER = (Stage.RCPT, Stage.DATA)


@dataclass(frozen=True)
class Result:
    """The result of one attempt. ``diagnosis`` is None if the message was accepted.

    ``settled`` is False if the claim was lost: then another worker's result counts. ``ends_batch``: no other
    message of the queue may be sent before the queue is read again.
    """

    accepted: bool
    diagnosis: Mapping[str, Any] | None = None
    failure: SubmissionFailure | None = None
    transcript: str = ""
    settled: bool = True
    ends_batch: bool = False


# Settles a message within a transaction; it is called again if the transaction failed.
SettleAction = Callable[[], Result]

LOST = Result(accepted=False, settled=False, ends_batch=True)


@dataclass(frozen=True)
class Accepted:
    """The action for a message that the server accepted, which ends a hold or pause of the queue."""

    claim: Claim
    route: Route
    acceptance: Acceptance
    transcript: str
    forced: bool

    def __call__(self) -> Result:
        return _settle_accepted([self])[0]


def settle_all(actions: Iterable[SettleAction]) -> list[Result]:
    """Settle several messages: the accepted ones together, then the one that ended the batch."""
    remaining = list(actions)
    accepted = [one for one in remaining if isinstance(one, Accepted)]
    return _settle_accepted(accepted) + [one() for one in remaining if not isinstance(one, Accepted)]


def settle_and_start(
    actions: Sequence[SettleAction], following: Claim, route: Route | None, generation: int
) -> datetime | None:
    """Settle messages that change nothing but themselves and record the start of ``following``, in one statement. Commits.

    ``generation`` is that of the queue when their batch was claimed. Returns the time by the database's clock; None where
    only a transaction can do that.
    """
    store = get_store()
    accepted = [one for one in actions if isinstance(one, Accepted)]
    if not store.has_one_statement or route is None or not accepted or len(accepted) < len(actions):
        return None
    if any(one.forced or one.claim.message.is_sealed or not one.claim.route for one in accepted):
        return None
    try:
        is_concern = any(callbacks.concerns_acceptance(one.claim) for one in accepted)
    except SQLAlchemyError:
        is_concern = True
    db.session.rollback()  # what the listeners read
    if is_concern:
        return None
    rows = [(one.claim, one.acceptance, one.transcript) for one in accepted]
    return store.settle_and_start(rows, following, route, generation=generation)


def _settle_accepted(accepted: Sequence[Accepted]) -> list[Result]:
    now = db_now()
    rows = [(one.claim, one.acceptance, one.transcript) for one in accepted]
    current = get_store().settle_accepted(rows, now=now)
    return [
        _after_acceptance(one) if is_current else LOST
        for one, is_current in zip(accepted, current, strict=True)
    ]


def _after_acceptance(one: Accepted) -> Result:
    if one.claim.first and not one.forced:
        _recover(one.claim.message.account_id)
    callbacks.notify(one.claim, Outcome.ACCEPTED, None, one.route.server.address)
    return Result(accepted=True, transcript=one.transcript)


def settle_refused(
    claim: Claim, route: Route, failure: SubmissionFailure, transcript: str, *, forced: bool
) -> Result:
    """Settle a message that was not accepted by its diagnosis: retry it, reject it, pause or hold its queue."""
    now, account_id = db_now(), claim.message.account_id
    diagnosis = route.explain(failure)
    claim.is_refused_target = failure.is_refused_target
    is_drop = diagnosis.retry_class is RetryClass.LATER and _broke_off(failure)
    if is_drop and not forced and _is_failing(claim):
        diagnosis = replace(diagnosis, retry_class=RetryClass.SERVER)
    decision = _decide(claim, diagnosis, failure, now=now, forced=forced)
    attempt = _attempt_columns(decision, diagnosis, failure, transcript)
    held = not forced and get_queue(account_id).held_at is not None
    healthy = failure.stage in _AFTER_SENDER and not decision.hold
    status = _status(claim, decision, stays_held=held and not healthy)
    if not get_store().settle(
        claim, now=now, status=status, attempt=attempt, next_attempt_at=decision.retry_at
    ):
        return LOST
    if not forced:
        queue = get_queue(account_id, lock=True)
        queue.healthy = failure.reply is not None
        if decision.hold:
            hold(account_id, diagnosis.as_dict(), now=now)
        elif held and healthy:
            release(account_id)
        elif held:
            queue.next_probe_at = decision.retry_at or now + retry.delay(queue.failed_probes)
        if decision.pause:
            _pause(queue, now)
        elif healthy:
            _ramp_up(queue)
    callbacks.notify(claim, decision.outcome, diagnosis.as_dict(), route.server.address)
    return Result(
        accepted=False,
        diagnosis=diagnosis.as_dict(),
        failure=failure,
        transcript=transcript,
        ends_batch=decision.hold or decision.pause or is_drop,
    )


def _broke_off(failure: SubmissionFailure) -> bool:
    """Whether the server ended the connection, or stopped answering, when it was given one message."""
    is_shutdown = failure.reply is not None and failure.reply.code == 421  # RFC 5321 section 3.8
    has_ended = failure.reason in (Reason.DISCONNECTED, Reason.TIMED_OUT) or is_shutdown
    return has_ended and failure.stage in _AFTER_SENDER


def _is_failing(claim: Claim) -> bool:
    """Whether a server that broke off at this message counts as failing, so that the queue is paused.

    The server of one recipient may make it do so at each attempt, which must not stop the mail to all others. It counts as
    failing at the second message in a row, or at another one after a pause, with no acceptance between. A drop ends its
    batch, so that the next acceptance is the first one of a batch, which sets ``consecutive_failures`` to zero.
    """
    queue = get_queue(claim.message.account_id, lock=True)
    if claim.tries > 1:  # it was counted at its first attempt
        return False
    if queue.paused_until is not None:
        return True
    is_second = queue.consecutive_failures > 0
    queue.consecutive_failures = 0 if is_second else 1  # the pause counts itself
    return is_second


def settle_no_route(claim: Claim, diagnosis: Mapping[str, Any], *, forced: bool) -> Result:
    """Hold the message and its queue, as there is no route at present; a test or a check fails."""
    now, account_id = db_now(), claim.message.account_id
    fails = forced or claim.message.is_test
    attempt = {"outcome": Outcome.HELD, "diagnosis": dict(diagnosis)}
    status = Status.FAILED if fails else Status.HELD
    if not get_store().settle(claim, now=now, status=status, attempt=attempt):
        return LOST
    if not forced:
        hold(account_id, diagnosis, now=now)
    callbacks.notify(claim, Outcome.HELD, diagnosis)
    return Result(accepted=False, diagnosis=diagnosis, ends_batch=True)


def settle_possibly_delivered(claim: Claim) -> Result:
    """Defer a message until the server that may have it is the route again; fail it when the time for retries is over."""
    now = db_now()
    query = select(func.min(DeliveryAttempt.started_at)).where(DeliveryAttempt.message_id == claim.message.id)
    is_over = now > (db.session.scalar(query) or now) + retry.give_up_after()
    attempt = {
        "outcome": Outcome.REJECTED if is_over else Outcome.HELD,
        "diagnosis": dict(POSSIBLY_DELIVERED),
    }
    status = Status.FAILED if is_over else Status.QUEUED
    retry_at = now + timedelta(seconds=current_config().tuning.other_server_wait_s)
    if not get_store().settle(claim, now=now, status=status, attempt=attempt, next_attempt_at=retry_at):
        return LOST
    return Result(accepted=False, diagnosis=POSSIBLY_DELIVERED)


def settle_screened(claim: Claim, refusal: ScreenRefusal) -> Result:
    """Fail a message that may not leave by its route, or defer it until it may. A test is not deferred."""
    waits = refusal.retry_at is not None and not claim.message.is_test
    attempt = {
        "outcome": Outcome.HELD if waits else Outcome.REJECTED,
        "diagnosis": dict(refusal.diagnosis),
    }
    status = Status.QUEUED if waits else Status.FAILED
    if not get_store().settle(
        claim, now=db_now(), status=status, attempt=attempt, next_attempt_at=refusal.retry_at
    ):
        return LOST
    return Result(accepted=False, diagnosis=refusal.diagnosis)


def settle_unsendable(claim: Claim) -> Result:
    """Fail a message that cannot be built, so that no server could accept it."""
    attempt = {"outcome": Outcome.REJECTED, "diagnosis": dict(UNSENDABLE)}
    if not get_store().settle(claim, now=db_now(), status=Status.FAILED, attempt=attempt):
        return LOST
    callbacks.notify(claim, Outcome.REJECTED, UNSENDABLE)
    return Result(accepted=False, diagnosis=UNSENDABLE)


def settle_internal_error(claim: Claim, traceback: str, *, forced: bool) -> Result:
    """Defer a message that caused an error of the portal; fail it after a few tries, so that it cannot block the queue."""
    now = db_now()
    tries = current_config().tuning.internal_error_tries
    fails = forced or claim.message.is_test or claim.tries >= tries
    outcome = Outcome.REJECTED if fails else Outcome.DEFERRED
    settled = get_store().settle(
        claim,
        now=now,
        status=Status.FAILED if fails else Status.QUEUED,
        attempt={"outcome": outcome, "diagnosis": dict(INTERNAL_ERROR), "traceback": traceback},
        next_attempt_at=now + retry.delay(claim.tries),
    )
    if not settled:
        return LOST
    callbacks.notify(claim, outcome, INTERNAL_ERROR)
    return Result(accepted=False, diagnosis=INTERNAL_ERROR, ends_batch=True)


def _decide(
    claim: Claim, diagnosis: Diagnosis, failure: SubmissionFailure, *, now: datetime, forced: bool
) -> retry.RetryDecision:
    if forced:  # a check reports its result at once; the owner repeats it
        return retry.RetryDecision(Outcome.REJECTED)
    counted = [DeliveryAttempt.message_id == claim.message.id, DeliveryAttempt.outcome != Outcome.HELD]
    reset = select(OutboxMessage.retries_reset_at).where(OutboxMessage.id == claim.message.id)
    reset_at = db.session.scalar(reset)
    if reset_at is not None:
        counted.append(DeliveryAttempt.started_at >= reset_at)
    since = db.session.scalar(select(func.min(DeliveryAttempt.started_at)).where(*counted)) or now
    return retry.decide(diagnosis, attempts=claim.tries, since=since, now=now, ambiguous=failure.ambiguous)


def _attempt_columns(
    decision: retry.RetryDecision, diagnosis: Diagnosis, failure: SubmissionFailure, transcript: str
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "outcome": decision.outcome,
        "stage": failure.stage,
        "ambiguous": failure.ambiguous,
        "diagnosis": dict(diagnosis.as_dict()),
        "transcript": transcript,
    }
    return values | (reply_columns(failure.reply) if failure.reply else {})


def _status(claim: Claim, decision: retry.RetryDecision, *, stays_held: bool) -> Status:
    if decision.outcome is Outcome.REJECTED or claim.message.is_test:  # a test is tried once
        return Status.FAILED
    return Status.HELD if decision.hold or stays_held else Status.QUEUED


def _recover(account_id: int | None) -> None:
    """End a hold or pause of the queue after an acceptance, and ramp it up."""
    queue = get_queue(account_id)
    is_stopped = queue.held_at is not None or queue.paused_until is not None or queue.consecutive_failures
    if not is_stopped and queue.healthy and queue.ramp_limit is None:
        return
    queue = get_queue(account_id, lock=True)
    queue.paused_until, queue.consecutive_failures, queue.healthy = None, 0, True
    if queue.held_at is not None:  # a probe or a test was accepted
        release(account_id)
    _ramp_up(queue)


def _ramp_up(queue: Queue) -> None:
    """Raise the limit after a failure: one message, one connection, two, four, then no limit."""
    if queue.ramp_limit is not None:
        doubled = max(1, 2 * queue.ramp_limit)
        queue.ramp_limit = doubled if doubled <= current_config().tuning.ramp_max_connections else None


def _pause(queue: Queue, now: datetime) -> None:
    """Pause the queue of a failing server, longer each time; its messages are not at fault."""
    config = current_config()
    queue.consecutive_failures += 1
    queue.ramp_limit = 0
    longest = timedelta(seconds=config.tuning.pause_max_s) * config.retry_pace
    queue.paused_until = now + min(retry.delay(queue.consecutive_failures), longest)
