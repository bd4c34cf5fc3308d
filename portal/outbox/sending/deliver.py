"""Delivers one claimed message: builds it, submits it, and classifies the result.

No database transaction is open during an SMTP session, and no result is kept in memory only: the start of the attempt is
recorded before the first byte, and an acceptance is written to the acceptance log as soon as it is read.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flask_mail import BadHeaderError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from ...db import db
from ...db.transaction import db_now
from ...smtp.failure import SubmissionFailure
from ...state import current_config
from ...vault import DecryptionError, KeyMissing
from ..diagnoses import KEY_MISSING
from ..routing import NoRoute, Route, RouteLookup, find_route
from ..store.sql import get_store
from . import outcomes
from .connection import ReusableConnection
from .mime import MessageRefused
from .outcomes import LOST, Result, SettleAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...smtp.protocol.stages import Observer
    from ..store.types import Claim

_log = logging.getLogger(__name__)
_TRACEBACK_CHARS = 8000  # kept of a traceback, from its end
stopping = threading.Event()  # set by SIGTERM or SIGINT: the message in progress is the last
_T = TypeVar("_T")


def attempt(
    claim: Claim,
    *,
    version_id: int | None = None,
    observer: Observer | None = None,
    keep_waiting: Callable[[], bool] | None = None,
) -> Result:
    """Submit one claimed message and settle it. Raises database errors only. Commits.

    ``version_id`` forces one version of the settings, live or not, and leaves the queue alone. ``keep_waiting`` is called
    every second while the server is silent, and ends the attempt by returning False.
    """
    store, forced = get_store(), version_id is not None
    lookup = find_route(claim.message.account_id, version_id)
    if not store.start_single(claim, lookup.route, now=db_now()):
        db.session.rollback()
        return LOST
    db.session.commit()
    connection = ReusableConnection(observer=observer, keep_waiting=keep_waiting)
    try:
        action = submit(claim, lookup, connection, forced=forced)
    finally:
        connection.close()
    if isinstance(action, outcomes.Accepted):
        store.log_accepted(claim, action.acceptance)
    result = retry_while_database_is_away(lambda: _settle(action))
    store.discard_log(claim)
    return result


def _settle(action: SettleAction) -> Result:
    result = action()
    db.session.commit()
    return result


def retry_while_database_is_away(transaction: Callable[[], _T]) -> _T:
    """Run a transaction until the database accepts it: it may be locked, restarting, or on a full disk.

    A worker that is stopping gives up after the duration of a lease and raises the error.
    """
    config, deadline, is_logged = current_config(), None, False
    while True:
        try:
            return transaction()
        except (OperationalError, InterfaceError) as error:
            db.session.rollback()
            if stopping.is_set():
                deadline = deadline or time.monotonic() + config.lease
                if time.monotonic() >= deadline:
                    raise
            if not is_logged:
                is_logged = True
                interval_s = config.tuning.database_retry_s
                _log.warning("database unavailable (%s); retrying every %s s", error.orig, interval_s)
            time.sleep(config.tuning.database_retry_s)


def submit(
    claim: Claim,
    lookup: RouteLookup,
    connection: ReusableConnection,
    *,
    forced: bool = False,
    following: Claim | None = None,
) -> SettleAction:
    """Submit a message whose start is recorded; return the action that settles it.

    The envelope of ``following``, which is claimed too, may be pipelined with the end of this message. The caller writes
    an acceptance to the acceptance log at once.
    """
    if isinstance(lookup.error, NoRoute):
        return partial(outcomes.settle_no_route, claim, lookup.error.diagnosis, forced=forced)
    message_id, route = claim.message.id, lookup.route
    if route is None:
        _log.error("looking up the route of message %s failed\n%s", message_id, lookup.traceback)
        return partial(
            outcomes.settle_internal_error, claim, _redacted(lookup.traceback, None), forced=forced
        )
    if (kept_back := _kept_back(claim)) is not None:
        return kept_back
    try:
        message = connection.prepared.build(claim, route)
        next_message = connection.prepared.prebuild(following, route) if following is not None else None
        acceptance = connection.submit(route, message, next_message)
    except SubmissionFailure as failure:
        return partial(outcomes.settle_refused, claim, route, failure, connection.transcript, forced=forced)
    except NoRoute as error:
        return partial(outcomes.settle_no_route, claim, error.diagnosis, forced=forced)
    except KeyMissing:
        _log.exception("message %s cannot be opened: a key is missing", message_id)
        return partial(outcomes.settle_no_route, claim, KEY_MISSING, forced=forced)
    except (MessageRefused, BadHeaderError, DecryptionError, ValueError):
        _log.exception("message %s cannot be built", message_id)
        return partial(outcomes.settle_unsendable, claim)
    except SQLAlchemyError:
        raise  # the database failed, not the message: the message is tried again when its lease is over
    except Exception:
        _log.exception("submitting message %s raised an unexpected error", message_id)
        connection.close()
        redacted = _redacted(traceback.format_exc(), route)
        return partial(outcomes.settle_internal_error, claim, redacted, forced=forced)
    return outcomes.Accepted(claim, route, acceptance, connection.transcript, forced)


def _kept_back(claim: Claim) -> SettleAction | None:
    """Return the action that settles a message which must not be submitted by this route; None if it may be."""
    if claim.refusal is not None:
        return partial(outcomes.settle_screened, claim, claim.refusal)
    return partial(outcomes.settle_possibly_delivered, claim) if claim.awaits_other_server else None


def _redacted(text: str, route: Route | None) -> str:
    """Return the end of a traceback, with the password replaced in case an error quotes it."""
    password = route.server.password.reveal() if route and route.server.password else ""
    return (text.replace(password, "[hidden]") if len(password) >= 4 else text)[-_TRACEBACK_CHARS:]
