"""The deed itself: take a claimed message, hand it in, record what came of it.

No database transaction is open while SMTP is spoken, and nothing that matters is in memory alone: the
intent is committed before the first byte, the result right after the last.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import current_app
from flask_mail import BadHeaderError

from ..clock import utcnow
from ..config import Config
from ..db import db
from ..smtp.diagnosis import Diagnosis
from ..smtp.failure import Stage, SubmissionFailure
from ..smtp.probe import Observer
from ..smtp.session import Acceptance
from ..vault import SealBroken
from . import claims, retry
from .claims import Claim
from .compose import AccountMessage, from_header, new_message_id
from .mime import MessageRefused
from .models import Outcome, Queue, Status
from .queue import SYSTEM, hold, queue_of, release
from .route import NoRoute, Route, route_for
from .transport import AccountConnection

_log = logging.getLogger(__name__)
_POISON_TRIES = 3
# A refusal this late concerns one message: name, TLS, log-in and sender were all accepted before it.
_PROVEN = (Stage.RCPT, Stage.DATA)
stopping = threading.Event()  # set when the worker is asked to end: the message in hand is the last

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
    """What one attempt came to. ``diagnosis`` is None when the message was accepted."""

    accepted: bool
    diagnosis: Mapping[str, Any] | None = None
    failure: SubmissionFailure | None = None
    transcript: str = ""


def drain(ident: int) -> int:
    """Send what is due in one account's queue until nothing is; return how many messages were tried.

    Safe to call at any time and by anybody: whoever comes second finds the queue taken.
    """
    lease = _lease()
    token = claims.take_queue(ident, now=utcnow(), lease=lease)
    if token is None:
        return 0
    tried, line = 0, _Line()
    try:
        while not stopping.is_set():
            claim = claims.claim_next(ident, token, now=utcnow(), lease=lease)
            if claim is None:
                break
            attempt(claim, line=line)
            tried += 1
    finally:
        line.close()
        claims.give_queue_back(ident, token)
    return tried


def attempt(
    claim: Claim,
    *,
    line: _Line | None = None,
    version_id: int | None = None,
    observer: Observer | None = None,
) -> Result:
    """Try one claimed message and settle it. Never raises for anything a server or a message does."""
    account_id = claim.message.account_id
    line, own_line = line or _Line(), line is None
    try:
        route = route_for(account_id, version_id)
        message = _compose(claim, route)
    except NoRoute as trouble:
        return _settle_failure(claim, None, trouble.because, hold_queue=version_id is None)
    except (MessageRefused, BadHeaderError, ValueError, SealBroken):
        _log.exception("message %s cannot be composed", claim.message.id)
        return _settle_failure(claim, None, NOT_SENDABLE, status=Status.FAILED)
    try:
        accepted = line.submit(route, message, observer)
    except SubmissionFailure as failure:
        line.drop_if_broken()
        return _judge(claim, route, failure, line.transcript, pinned=version_id is not None)
    except (MessageRefused, BadHeaderError):
        _log.exception("message %s cannot be serialised", claim.message.id)
        return _settle_failure(claim, None, NOT_SENDABLE, status=Status.FAILED)
    except Exception:  # a fault of ours must not stop the queue: the message is set aside after three tries
        _log.exception("message %s raised where nothing should", claim.message.id)
        line.close()
        return _poisoned(claim)
    finally:
        if own_line:
            line.close()
    return _settle_accepted(claim, accepted, line.transcript, release_queue=version_id is None)


class _Line:
    """The connection kept for one drain: reused while the route stays the same, made anew otherwise."""

    def __init__(self) -> None:
        self._connection: AccountConnection | None = None
        self.transcript = ""

    def submit(self, route: Route, message: AccountMessage, observer: Observer | None) -> Acceptance:
        connection = self._connection
        if connection is None or connection.route != route or not connection.host.alive():
            self.close()
            connection = self._connection = AccountConnection(route, observer)
            try:
                connection.__enter__()
            except SubmissionFailure:
                self._remember()
                raise
        else:
            connection.host.renew()
        try:
            return connection.submit(message)
        finally:
            self._remember()

    def _remember(self) -> None:
        host = self._connection.host if self._connection else None
        self.transcript = str(host.transcript) if host is not None else ""

    def drop_if_broken(self) -> None:
        """Give the connection up after a failure that left it unusable; a refused recipient does not."""
        if self._connection is not None and (
            self._connection.host is None or not self._connection.host.alive()
        ):
            self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(None, None, None)


def _compose(claim: Claim, route: Route) -> AccountMessage:
    """Build the message and end the transaction, for SMTP may take its time."""
    row = claim.message
    if row.message_id is None or (claim.attempt.number > 1 and not _may_have_arrived(row.message_id, route)):
        row.message_id = new_message_id(route)
    claim.attempt.version_number = route.version_number
    claim.attempt.server = route.server.address
    claim.attempt.sender = from_header(route)
    message = AccountMessage(row, route, now=utcnow())
    db.session.commit()
    return message


def _may_have_arrived(message_id: str, route: Route) -> bool:
    """Whether an id may stay: a twin must carry the same one, but it has to be on the sending domain."""
    return message_id.rstrip(">").endswith("@" + route.sender.rpartition("@")[2])


def _settle_accepted(claim: Claim, accepted: Acceptance, transcript: str, *, release_queue: bool) -> Result:
    now = utcnow()
    row = claim.attempt
    row.outcome, row.stage = Outcome.ACCEPTED, Stage.DATA
    row.reply_code, row.enhanced_code = accepted.reply.code, accepted.reply.enhanced or ""
    row.reply_text, row.queue_id = accepted.reply.text[:500], (accepted.queue_id or "")[:120]
    row.transcript = transcript
    account_id = claim.message.account_id
    if not claims.settle(claim, now=now, status=Status.SENT):
        return Result(accepted=True, transcript=transcript)
    if release_queue:
        queue = queue_of(account_id)
        queue.pause_until, queue.troubles = None, 0
        if queue.held_at is not None:  # a probe or a test went through: the trouble is over
            release(account_id, now=now)
    db.session.commit()
    return Result(accepted=True, transcript=transcript)


def _judge(
    claim: Claim, route: Route, failure: SubmissionFailure, transcript: str, *, pinned: bool
) -> Result:
    """Ask the diagnosis what the failure means, and settle accordingly."""
    now = utcnow()
    diagnosis: Diagnosis = route.explain(failure)
    message = claim.message
    decision = retry.decide(
        diagnosis,
        attempts=message.attempts,
        created_at=message.created_at,
        now=now,
        ambiguous=failure.ambiguous,
    )
    if pinned:  # a check answers at once: it is the owner who tries again
        decision = retry.Decision(Outcome.REJECTED)
    row = claim.attempt
    row.outcome, row.stage, row.ambiguous = decision.outcome, failure.stage, failure.ambiguous
    row.diagnosis, row.transcript = dict(diagnosis.as_dict()), transcript
    if failure.reply:
        row.reply_code, row.enhanced_code = failure.reply.code, failure.reply.enhanced or ""
        row.reply_text = failure.reply.text[:500]
    account_id = message.account_id
    if (
        message.urgent and decision.outcome is not Outcome.REJECTED
    ):  # a test is over; the trouble may still hold
        status = Status.FAILED
    else:
        status = {Outcome.HELD: Status.HELD, Outcome.DEFERRED: Status.QUEUED}.get(
            decision.outcome, Status.FAILED
        )
    settled = claims.settle(claim, now=now, status=status, next_attempt_at=decision.again_at)
    if settled and decision.hold:
        hold(account_id, diagnosis.as_dict(), now=now)
    elif settled and decision.pause:
        _pause(queue_of(account_id))
    elif settled and not pinned and failure.stage in _PROVEN and queue_of(account_id).held_at is not None:
        release(account_id, now=now)
    db.session.commit()
    return Result(accepted=False, diagnosis=diagnosis.as_dict(), failure=failure, transcript=transcript)


def _pause(queue: Queue) -> None:
    """Leave a server in trouble alone for a while, longer each time; its messages are not to blame."""
    queue.troubles += 1
    queue.pause_until = utcnow() + min(retry.delay(queue.troubles), timedelta(minutes=30))


def _settle_failure(
    claim: Claim,
    stage: str | None,
    because: Mapping[str, Any],
    *,
    status: Status = Status.HELD,
    hold_queue: bool = False,
) -> Result:
    now = utcnow()
    row = claim.attempt
    row.outcome = Outcome.HELD if status is Status.HELD else Outcome.REJECTED
    row.stage, row.diagnosis = stage or "", dict(because)
    account_id, urgent = claim.message.account_id, claim.message.urgent
    if urgent or not hold_queue:
        status = Status.FAILED
    settled = claims.settle(claim, now=now, status=status)
    if settled and hold_queue and row.outcome is Outcome.HELD:
        hold(account_id, because, now=now)
    db.session.commit()
    return Result(accepted=False, diagnosis=because)


def _poisoned(claim: Claim) -> Result:
    db.session.rollback()
    now = utcnow()
    given_up = claim.message.attempts >= _POISON_TRIES
    row = claim.attempt
    row.outcome, row.diagnosis = Outcome.REJECTED if given_up else Outcome.DEFERRED, dict(OUR_FAULT)
    status = Status.FAILED if given_up else Status.QUEUED
    claims.settle(claim, now=now, status=status, next_attempt_at=now + retry.delay(claim.message.attempts))
    db.session.commit()
    return Result(accepted=False, diagnosis=OUR_FAULT)


def _lease() -> timedelta:
    config: Config = current_app.extensions["signet.config"]
    return timedelta(seconds=config.lease)


__all__ = ["SYSTEM", "Result", "attempt", "drain", "stopping"]
