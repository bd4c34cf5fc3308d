"""Sends one account's due messages over one connection, batch by batch, while holding one connection lease.

One transaction records the results of submitted messages, the start of the next, and the lease renewal; when a batch is
used up it also claims the next one. An acceptance is recorded before the next message is finished: in SQLite by the
acceptance log, which the table follows many times a second; where machines share a database, by the table itself.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from ...clock import utcnow
from ...db import db, group_commit, read_only
from ...db.prepared import PreparedStatement
from ...db.transaction import db_now
from ...jobs import notify
from .. import callbacks, rate_limits
from ..models import Queue
from ..queue import SYSTEM, get_queue
from ..store import acceptance_log, claims, connection_leases, due, recovery
from . import deliver, outcomes
from .batch_size import Pace
from .connection_reuse import Line
from .deliver import Way, patiently
from .message import PreparedMessages
from .outcomes import LOST, Accepted, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..store.types import Claim

_log = logging.getLogger(__name__)
_RENEW_AFTER = 0.1  # of a lease
_REST = 2.0  # seconds for which an idle connection is kept
_GLANCE = 0.25  # seconds between two looks for work nobody told of, meanwhile
_BEHIND = 0.1  # seconds the table may be behind the journal
_WORTH_WAITING = 1.0  # seconds until a limit lets the next one leave: the connection is kept for so long
_TURN = PreparedStatement(select(Queue.generation).where(Queue.account_id == bindparam("i")))


@dataclass
class _Next:
    """What a transaction has claimed: it counts once that has committed."""

    claim: Claim | None = None
    rest: Sequence[Claim] = ()
    way: Way = field(default_factory=Way)
    generation: int = 0
    renewed: float | None = None
    now: datetime | None = None  # when it was claimed, by the database's clock
    rests: bool = False  # nothing is due, and slot and connection are kept for a moment

    def going_on(self) -> _Next:
        """Return what follows within the batch."""
        return _Next(self.rest[0], self.rest[1:], self.way, self.generation)


def drain_queue(account_id: int) -> int:
    """Send what is due in one account's queue until nothing is left; return the number of messages tried."""
    return Drain(account_id).run()


class Drain:
    """Send what is due in one account's queue until nothing is, or long enough."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.tried = 0
        self.moved_at = time.monotonic()  # when something last came of it: whoever waits for it may look
        self.pace = Pace()
        self.is_help = False  # it came to a drain of the same queue in the same process
        self.may_rest: Callable[[], bool] = lambda: False
        self.at_rest = threading.Event()  # nothing is to be done at present
        self._news = threading.Event()  # something may be
        self._account = None if ident == SYSTEM else ident
        self._token = connection_leases.new_token()
        self._line = Line(self._in_the_meantime, self._write_ahead)
        self._prepared = PreparedMessages()
        self._now = _Next()
        self._handed_in: list[tuple[Claim, Verdict]] = []  # whose results only the journal has
        self._is_stale = False  # somebody else has taken over
        self._renewed = self._recorded = 0.0
        self._clock = (utcnow(), time.monotonic())  # the database's, when it was asked last
        self._drew_all = False  # the last claim took all there was
        self._made_room = False
        self._closed_for = 0.0  # seconds, by a limit of the account

    def run(self) -> int:
        """Return how many messages were tried. Safe to call at any time and by anybody."""
        if connection_leases.are_taken(self.ident):
            return 0
        recovery.settle_the_dead()
        self._adopt(patiently(self._open))
        return self.run_on()

    def run_on(self) -> int:
        """Send what has been claimed, and whatever else is due; return how many messages were tried."""
        try:
            while self._now.claim is not None or self._waits_for_a_limit() or self._rests():
                if self._now.claim is not None:
                    self._send(self._now.claim)
        except BaseException:
            db.session.rollback()
            self._leave()
            raise
        finally:
            self._line.close()
        if self._made_room:
            notify.push("drain", self.ident)
        return self.tried

    def _waits_for_a_limit(self) -> bool:
        """Wait where a limit closes the queue for a moment only, and claim again; False when that is over."""
        seconds, self._closed_for = self._closed_for, 0.0
        if not 0 < seconds <= _WORTH_WAITING or self._ends():
            return False
        time.sleep(seconds)
        self._adopt(patiently(self._open))
        return self._now.claim is not None or self._closed_for > 0

    # -- at rest

    def tell(self) -> None:
        """Let a drain look for work, as soon as it rests."""
        self._news.set()

    def _rests(self) -> bool:
        """Keep slot and connection for a moment in which more may come; whether more has come."""
        if not self._now.rests:
            return False
        self.pace.rest(self.tried)
        until = time.monotonic() + _REST
        self.at_rest.set()
        try:
            while time.monotonic() < until and not self._ends():
                told = self._news.wait(_GLANCE)
                self._news.clear()
                if told or self._sees_work():
                    self._adopt(patiently(lambda: group_commit.run(self._resume)))
                if self._now.claim is not None or not self._now.rests:
                    return self._now.claim is not None
        finally:
            self.at_rest.clear()
        self._now = _Next()
        patiently(lambda: group_commit.run(lambda: connection_leases.close(self._token)))
        return False

    def _sees_work(self) -> bool:
        with read_only():
            found = due.has_work(self.ident, db_now())
            db.session.rollback()
        return found

    def _resume(self) -> _Next:
        now = db_now()
        if self._ends() or not connection_leases.renew(self._account, self._token, now=now):
            connection_leases.close(self._token)
            return _Next()
        self.pace.go_on()
        self._drew_all = False
        return self._after_that((), now, time.monotonic())

    # -- one message

    def _send(self, claim: Claim) -> None:
        self._look_again_after_a_sleep(claim)
        if self._now.claim is not claim:
            return
        following = self._now.rest[0] if self._now.rest and not self._ends() else None
        if claim.intent_id:
            acceptance_log.of_this_process().begun(claim)  # whoever buries us learns what else we held
        verdict = deliver.hand_in(claim, self._now.way, self._line, self._prepared, following=following)
        self.tried += 1
        self.moved_at = time.monotonic()
        self._handed_in.append((claim, verdict))
        if not self._goes_on(verdict, following):
            self._adopt(patiently(lambda: group_commit.run(self._settle)))
            self._forget_results()

    def _goes_on(self, verdict: Verdict, following: Claim | None) -> bool:
        """Write an acceptance down, and begin the next message with the journal as the only record, where it may be."""
        if not isinstance(verdict, Accepted):
            return False
        mine = acceptance_log.of_this_process()
        if following is None or not self._may_begin(following):
            mine.accepted(verdict.claim, verdict.acceptance)
            return False
        claims.begin(following, self._now.way.route, now=self._present())
        if not mine.accepted(verdict.claim, verdict.acceptance, following):
            return False
        self._now = self._now.going_on()
        return True

    def _may_begin(self, following: Claim) -> bool:
        """Whether the journal is record enough for the next message, and the table not far behind."""
        if not _journal_is_enough() or time.monotonic() - self._recorded > _BEHIND:
            return False
        if self._is_stale or self._renewal_is_due() or self._ends():
            return False
        is_claimed = len(self._now.rest) > 1 or self._knows_of_nothing()  # what comes after it
        return is_claimed and not following.first  # a batch begins by the table

    def _in_the_meantime(self) -> None:
        """The server takes its time: have the table say what the journal says. Otherwise it is done later."""
        claim = self._now.claim
        if claim is None or (not self._handed_in and claim.intent_id):
            return
        unknown = not claim.intent_id
        try:
            self._is_stale |= not group_commit.run(lambda: self._catch_up(claim, unknown))
        except Exception:
            db.session.rollback()
            if unknown:
                claim.intent_id = 0
            _log.debug("what was handed in is recorded later", exc_info=True)
        else:
            self._forget_results()

    def _write_ahead(self) -> None:
        """Put the message after the next together while the server reads this one: the next is announced already."""
        for one in self._now.rest[1:2]:
            if self._now.way.route is not None:
                self._prepared.prebuild(one, self._now.way.route)

    def _catch_up(self, claim: Claim, unknown: bool) -> bool:
        """Record what was handed in, and the intent that is ``unknown`` to the table; False: it is another's."""
        results = outcomes.recorded(verdict for _, verdict in self._handed_in)
        if not all(one.settled for one in results) or not claims.holds(claim):
            return False
        if unknown:
            claims.intend(claim, self._now.way.route, now=claim.begun_at or db_now())
        return True

    def _forget_results(self) -> None:
        acceptance_log.of_this_process().settled(*(claim for claim, _ in self._handed_in))
        self._handed_in.clear()
        self._recorded = time.monotonic()

    def _look_again_after_a_sleep(self, claim: Claim) -> None:
        """A process that froze between its intent and its first byte asks whether the message is still its own."""
        if time.monotonic() - self._renewed > 2 * _RENEW_AFTER * self._lease:
            renewed = patiently(self._renew_alone)
            self._renewed = time.monotonic()
            if not renewed:
                _log.warning("message %s was taken over while this worker stood still", claim.message.id)
                self._leave()

    def _renew_alone(self) -> bool:
        kept = connection_leases.renew(self._account, self._token, now=db_now())
        db.session.commit()
        return kept

    # -- transactions; each is one commit, and may be run again when that failed

    def _open(self) -> _Next:
        """Take a slot, claim a batch and record the intent for its first message. Commits."""
        get_queue(self._account)
        queue, now = self._locked(), db_now()
        way = deliver.way_of(self._account)
        found = self._claim(queue, way, now)
        bound = connection_leases.most(way.route.provider if way.route else None)
        if not found or not connection_leases.take(queue, self._token, bound=bound, now=now):
            db.session.rollback()
            return _Next()
        claims.intend(found[0], way.route, now=now)
        taken = _Next(found[0], found[1:], way, queue.generation, time.monotonic(), now)
        db.session.commit()
        return taken

    def _settle(self) -> _Next:
        """Record all results, and the intent to send the next message; claim more if need be."""
        results = outcomes.recorded(verdict for _, verdict in self._handed_in)
        lost = next((one for one in results if not one.settled), LOST if self._is_stale else None)
        following = self._after(lost or results[-1])
        if following.claim is None and not following.rests:
            connection_leases.close(self._token)
        return following

    def _after(self, result: Result) -> _Next:
        rest, renewed = self._now.rest, None
        if not result.settled:
            claims.give_all_back(self.ident, self._token)
            return _Next()
        is_another_turn = self._is_another_turn()
        if is_another_turn:
            self._drew_all = False  # what was held may leave now
        if rest and (result.stops or self._ends() or is_another_turn):
            claims.give_back(rest, get_queue(self._account))
            rest = ()
        if self._ends():
            return _Next()
        now = db_now()
        if self._renewal_is_due():
            if not connection_leases.renew(self._account, self._token, now=now):
                claims.give_back(rest, get_queue(self._account))
                return _Next()
            renewed = time.monotonic()
        return self._after_that(rest, now, renewed)

    def _after_that(self, rest: Sequence[Claim], now: datetime, renewed: float | None) -> _Next:
        """Intend the next message, and claim more where that is the last."""
        way, turn = self._now.way, self._now.generation
        if len(rest) < 2 and not self._knows_of_nothing() and not self._makes_room():
            # The last of a batch leaves with the first of the next behind it, whose envelope travels with its end.
            queue = self._locked()
            way, turn = deliver.way_of(self._account), queue.generation
            rest = [*rest, *self._claim(queue, way, now)]
            queue.last_served_at = now
        if not rest:
            calm = way.route is not None and not self._made_room and not self._closed_for
            rests = calm and self._line.is_open and self.may_rest()
            if rests:  # should this worker die at rest, nobody waits for long
                connection_leases.shorten(self._token, now + timedelta(seconds=2 * _REST))
            return _Next(rests=rests, renewed=renewed)
        claims.intend(rest[0], way.route, now=now)
        return _Next(rest[0], rest[1:], way, turn, renewed, now)

    def _knows_of_nothing(self) -> bool:
        """Whether the last claim took all there was, and nobody told of more: what comes is gathered and announced."""
        return self._drew_all and not self._news.is_set()

    def _is_another_turn(self) -> bool:
        """Whether the queue was held or let go since the batch was claimed: other settings may hold by now."""
        return bool(_TURN.scalar(i=self.ident) != self._now.generation)

    def _locked(self) -> Queue:
        return db.session.get_one(Queue, self.ident, with_for_update=True, populate_existing=True)

    def _claim(self, queue: Queue, way: Way, now: datetime) -> list[Claim]:
        self._news.clear()
        self._drew_all = False
        limit = callbacks.allowance(queue, self.pace.size if way.route else 1, now)
        if not limit:
            self._closed_for = rate_limits.seconds_until_allowed(self.ident, now)
            return []
        found = claims.claim_batch(queue, self._token, way.route, limit=limit, now=now)
        rate_limits.consume(self.ident, len(found), now)
        self._drew_all = len(found) < limit and not due.has_work(self.ident, now)
        return found

    # -- what counts once a transaction has committed

    def _adopt(self, following: _Next) -> None:
        self._recorded = time.monotonic()
        if following.now is not None:
            self._clock = (following.now, self._recorded)
        if following.claim is not None and following.claim.first and self.pace.begin_batch(self.tried):
            notify.push("drain", self.ident)
        if following.renewed is not None:
            self._renewed = following.renewed
        self._now = following

    def _present(self) -> datetime:
        """Return the present moment by the database's clock, without asking it."""
        then, at = self._clock
        return then + timedelta(seconds=time.monotonic() - at)

    def _ends(self) -> bool:
        return deliver.stopping.is_set()

    def _makes_room(self) -> bool:
        """Whether others wait for a connection and this one was had for long, or it only was in the way."""
        if self.is_help and self.pace.is_busy:
            self._made_room = True
        elif not self._made_room and self.pace.had_a_spell():
            self._made_room = connection_leases.are_all_taken()
        return self._made_room

    def _renewal_is_due(self) -> bool:
        return time.monotonic() - self._renewed > _RENEW_AFTER * self._lease

    @cached_property
    def _lease(self) -> float:
        return connection_leases.lease().total_seconds()

    def _leave(self) -> None:
        """Give everything back that was not begun; where the database does not answer, the pulse does it later."""
        self._now = _Next()
        self._handed_in.clear()
        try:
            recovery.give_back(self.ident, self._token)
        except SQLAlchemyError:
            db.session.rollback()
            connection_leases.leave_behind(self.ident, self._token)


def _journal_is_enough() -> bool:
    """Whether whoever may take over can read our journal: SQLite's workers are all on this machine."""
    return db.engine.dialect.name == "sqlite"
