"""The deed itself: hand one claimed message in, and find out what that came to.

No database transaction is open while SMTP is spoken, and nothing that matters is in memory alone: the intent is
committed before the first byte, and an acceptance is in the journal as soon as it is read.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flask_mail import BadHeaderError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from ...db import db
from ...db.transaction import db_now
from ...smtp.failure import SubmissionFailure
from ...vault import KeyMissing, SealBroken
from ..diagnoses import KEY_MISSING
from ..routing import NoRoute, Route, route_for
from ..store import acceptance_log, claims, connection_leases, settle
from . import outcomes
from .connection_reuse import Line
from .message import PreparedMessages
from .mime import MessageRefused
from .outcomes import LOST, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...smtp.protocol.stages import Observer
    from ..store.types import Claim

_log = logging.getLogger(__name__)
_BETWEEN = 0.5  # seconds between two looks whether the database is back
_LONGEST_FAULT = 8000  # characters of a traceback that are kept
stopping = threading.Event()  # set when the worker is asked to end: the message in hand is the last
_T = TypeVar("_T")


@dataclass(frozen=True)
class Way:
    """The way out of a queue as it was found: a route, or why there is none."""

    route: Route | None = None
    trouble: BaseException | None = None
    traceback: str = ""


def way_of(account_id: int | None, version_id: int | None = None) -> Way:
    """Ask for the way out. Raises for trouble with the database alone."""
    try:
        return Way(route_for(account_id, version_id))
    except SQLAlchemyError:
        raise
    except Exception as trouble:
        return Way(None, trouble, "" if isinstance(trouble, NoRoute) else traceback.format_exc())


def attempt(claim: Claim, *, version_id: int | None = None, observer: Observer | None = None) -> Result:
    """Try one claimed message and settle it. Raises for trouble with the database alone.

    ``version_id`` pins it to one version of the settings, whatever is live, and leaves the queue alone.
    """
    line, pinned = Line(), version_id is not None
    way = way_of(claim.message.account_id, version_id)
    if not _begin(claim, way):
        return LOST
    try:
        verdict = hand_in(claim, way, line, PreparedMessages(), pinned=pinned, observer=observer)
    finally:
        line.close()
    if isinstance(verdict, outcomes.Accepted):
        acceptance_log.of_this_process().accepted(claim, verdict.acceptance)
    result = patiently(lambda: _recorded(verdict))
    acceptance_log.of_this_process().settled(claim)
    return result


def _begin(claim: Claim, way: Way) -> bool:
    """Record the intent; False when the claim was lost meanwhile. Commits."""
    now = db_now()
    if not settle.settle_rows(
        claim.message.id, claim.token, {"lease_until": now + connection_leases.lease()}
    ):
        db.session.rollback()
        return False
    if way.route is not None:
        claims.address(claim, way.route)
    claims.intend(claim, way.route, now=now)
    db.session.commit()
    return True


def _recorded(verdict: Verdict) -> Result:
    result = verdict()
    db.session.commit()
    return result


def patiently(deed: Callable[[], _T]) -> _T:
    """Run a transaction until the database takes it: locked, restarting, on a full disk, it comes back.

    No message is to blame meanwhile. A worker that was asked to end waits no longer than a lease.
    """
    until, told = None, False
    while True:
        try:
            return deed()
        except (OperationalError, InterfaceError) as trouble:
            db.session.rollback()
            if stopping.is_set():
                until = until or time.monotonic() + connection_leases.lease().total_seconds()
                if time.monotonic() >= until:
                    raise
            if not told:
                told = True
                _log.warning("the database takes nothing down just now (%s); waiting for it", trouble.orig)
            time.sleep(_BETWEEN)


def hand_in(
    claim: Claim,
    way: Way,
    line: Line,
    prepared: PreparedMessages,
    *,
    pinned: bool = False,
    observer: Observer | None = None,
    following: Claim | None = None,
) -> Verdict:
    """Hand a message in whose intent is recorded; return what is to be recorded of it.

    The envelope of ``following``, which is claimed too, may leave with the end of this one. Whoever calls writes
    an acceptance into the journal at once.
    """
    if isinstance(way.trouble, NoRoute):
        return partial(outcomes.no_route, claim, way.trouble.because, pinned=pinned)
    if way.route is None:
        _log.error("there is no way to be found for message %s\n%s", claim.message.id, way.traceback)
        return partial(outcomes.poisoned, claim, _scrubbed(way.traceback, None), pinned=pinned)
    if claim.awaits_other_server:
        return partial(outcomes.in_doubt, claim)
    route, ident = way.route, claim.message.id
    try:
        message = prepared.build(claim, route)
        after = prepared.prebuild(following, route) if following is not None else None
        acceptance = line.submit(route, message, observer, after)
    except SubmissionFailure as failure:
        return partial(outcomes.refused, claim, route, failure, line.transcript, pinned=pinned)
    except NoRoute as trouble:
        return partial(outcomes.no_route, claim, trouble.because, pinned=pinned)
    except KeyMissing:
        _log.exception("message %s cannot be opened: a key is missing", ident)
        return partial(outcomes.no_route, claim, KEY_MISSING, pinned=pinned)
    except (MessageRefused, BadHeaderError, SealBroken, ValueError):
        _log.exception("message %s cannot be put together", ident)
        return partial(outcomes.not_sendable, claim)
    except SQLAlchemyError:
        raise  # the database is in trouble, not the message; its lease lapses and it is tried again
    except Exception:
        _log.exception("message %s raised where nothing should", ident)
        line.close()
        fault = _scrubbed(traceback.format_exc(), route)
        return partial(outcomes.poisoned, claim, fault, pinned=pinned)
    return outcomes.Accepted(claim, route, acceptance, line.transcript, pinned)


def _scrubbed(fault: str, route: Route | None) -> str:
    """Return the end of a traceback without the password, should anything have quoted it."""
    password = route.server.password.reveal() if route and route.server.password else ""
    return (fault.replace(password, "[hidden]") if len(password) >= 4 else fault)[-_LONGEST_FAULT:]
