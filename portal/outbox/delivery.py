"""The deed itself: take a claimed message, hand it in, record what came of it.

No database transaction is open while SMTP is spoken, and nothing that matters is in memory alone: the
intent is committed before the first byte, the result right after the last.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

from flask_mail import BadHeaderError
from sqlalchemy import select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from .. import wake
from ..clock import utcnow
from ..config import current_config
from ..db import db
from ..smtp.envelope import Acceptance
from ..smtp.failure import SubmissionFailure
from ..smtp.probe import Observer
from ..vault import SealBroken
from . import claims, verdicts
from .claims import Claim
from .compose import AccountMessage, from_header, new_message_id
from .line import Line
from .mime import MessageRefused
from .models import DeliveryAttempt
from .queue import SYSTEM
from .route import NoRoute, Route, route_for
from .verdicts import OUR_FAULT, Result

_log = logging.getLogger(__name__)
_AT_A_TIME = 200  # messages in one drain, so that an account with very many leaves the worker to others, too
stopping = threading.Event()  # set when the worker is asked to end: the message in hand is the last


class _ClaimLost(Exception):
    """The lease lapsed before anything was said, and another worker has the message."""


def drain(ident: int) -> int:
    """Send what is due in one account's queue until nothing is; return how many messages were tried.

    Safe to call at any time and by anybody: whoever comes second finds the queue taken.
    """
    token = claims.take_queue(ident, now=utcnow(), lease=_lease())
    if token is None:
        return 0
    line, tried = Line(), 0
    try:
        tried = _send_what_is_due(ident, token, line)
    except BaseException:
        db.session.rollback()
        raise
    finally:
        line.close()
        claims.give_queue_back(ident, token)
    if tried == _AT_A_TIME:
        wake.now("drain", ident)
    return tried


def _send_what_is_due(ident: int, token: str, line: Line) -> int:
    tried = 0
    while tried < _AT_A_TIME and not stopping.is_set():
        claim = claims.claim_next(ident, token, now=utcnow(), lease=_lease())
        if claim is None:
            break
        attempt(claim, line=line)
        tried += 1
    return tried


def attempt(
    claim: Claim,
    *,
    line: Line | None = None,
    version_id: int | None = None,
    observer: Observer | None = None,
) -> Result:
    """Try one claimed message and settle it. Raises for trouble with the database alone.

    ``version_id`` pins it to one version of the settings, whatever is live, and leaves the queue alone.
    """
    if line is not None:
        return _attempt(claim, line, version_id, observer)
    own = Line()
    try:
        return _attempt(claim, own, version_id, observer)
    finally:
        own.close()


def _attempt(claim: Claim, line: Line, version_id: int | None, observer: Observer | None) -> Result:
    pinned, ident = version_id is not None, claim.message.id
    try:
        route = route_for(claim.message.account_id, version_id)
        message = _compose(claim, route)
        try:
            acceptance = line.submit(route, message, observer)
        except SubmissionFailure as failure:
            return verdicts.refused(claim, route, failure, line.transcript, pinned=pinned)
    except NoRoute as trouble:
        return verdicts.no_route(claim, trouble.because, pinned=pinned)
    except _ClaimLost:
        db.session.rollback()
        return verdicts.LOST
    except (MessageRefused, BadHeaderError, ValueError, SealBroken):
        _log.exception("message %s cannot be put together", ident)
        return verdicts.not_sendable(claim)
    except SQLAlchemyError:
        raise  # the database is in trouble, not the message; its lease lapses and it is tried again
    except Exception:
        _log.exception("message %s raised where nothing should", ident)
        line.close()
        return verdicts.poisoned(claim, pinned=pinned)
    return _accepted(claim, acceptance, line.transcript, pinned=pinned)


def _accepted(claim: Claim, acceptance: Acceptance, transcript: str, *, pinned: bool) -> Result:
    """Record that the server has the message. If that were forgotten, its twin would leave.

    So a database that is locked or being restarted is waited for, as long as a lease lasts.
    """
    until = utcnow() + _lease()
    while True:
        try:
            return verdicts.accepted(claim, acceptance, transcript, pinned=pinned)
        except OperationalError:
            db.session.rollback()
            if utcnow() >= until:
                raise
            _log.warning("a message was accepted, but the database does not take that down; trying again")
            time.sleep(0.5)


def _compose(claim: Claim, route: Route) -> AccountMessage:
    """Build the message and end the transaction, for SMTP may take its time."""
    if not claims.renew(claim, now=utcnow(), lease=_lease()):
        raise _ClaimLost
    row = claim.message
    if row.message_id is None or not (_is_at_home(row.message_id, route) or _may_have_arrived(row.id)):
        row.message_id = new_message_id(route)
    claim.attempt.version_number = route.version_number
    claim.attempt.server = route.server.address
    claim.attempt.sender = from_header(route)
    message = AccountMessage(row, route, now=utcnow())
    db.session.commit()
    return message


def _is_at_home(message_id: str, route: Route) -> bool:
    """Whether a Message-ID is on the sending domain, as receivers like to see it."""
    return message_id.endswith(f"@{route.sender.rpartition('@')[2]}>")


def _may_have_arrived(message_id: int) -> bool:
    """Whether a server may hold the message already: then its twin has to carry the same Message-ID."""
    query = select(DeliveryAttempt.id).where(
        DeliveryAttempt.message_id == message_id, DeliveryAttempt.ambiguous
    )
    return db.session.scalar(query.limit(1)) is not None


def _lease() -> timedelta:
    config = current_config()
    return timedelta(seconds=config.lease)


__all__ = ["OUR_FAULT", "SYSTEM", "Result", "attempt", "drain", "stopping"]
