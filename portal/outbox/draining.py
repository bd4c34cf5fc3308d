"""A drain: one slot of one account's queue, one connection, and batch after batch of what is due.

One transaction carries the result of a message, the intent to send the next, and the renewal of the lease; when
a batch is used up it claims the next one as well. So each acceptance is recorded before the next message is
finished, at one commit a message, and whoever dies here leaves one message in doubt at most.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from .. import wake
from ..db import db, moment, reading
from . import claims, delivery, journal, listeners, rates, slots, together
from .claims import Claim
from .delivery import Verdict, Way, patiently
from .line import Line
from .models import Queue, Slot
from .queue import SYSTEM, queue_of
from .swift import Swift
from .verdicts import Result

_log = logging.getLogger(__name__)
_AT_A_TIME = 200  # messages in one drain, so that an account with very many leaves the worker to others, too
_BATCH = 50  # messages claimed at once at most
_FIRST_BATCH = 4
_LONG = 1.0  # seconds a batch may take: with a slow server the next is smaller, or others could do the rest
_RENEW_AFTER = 0.1  # of a lease
_WORTH_WAITING = 1.0  # seconds until a limit lets the next one leave: the connection is kept for so long
_WORTH_HELP = 0.001  # seconds a message takes at least, for a second connection to be of use
_TURN = Swift(select(Queue.__table__.c.turn).where(Queue.__table__.c.account_id == bindparam("i")))


@dataclass(frozen=True)
class _Next:
    """What a transaction has claimed: it counts once that has committed."""

    claim: Claim | None = None
    rest: Sequence[Claim] = ()
    way: Way = field(default_factory=Way)
    turn: int = 0
    renewed: float | None = None


class Drain:
    """Send what is due in one account's queue until nothing is, or long enough."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.tried = 0
        self.moved_at = time.monotonic()  # when something last came of it: whoever waits for it may look
        self.is_slow = False  # its server takes its time, so that a second connection is of use
        self._account = None if ident == SYSTEM else ident
        self._token = slots.new_token()
        self._line = Line()
        self._now = _Next()
        self._renewed = self._batch_at = 0.0
        self._size = _FIRST_BATCH
        self._asked_for_help = False
        self._closed_for = 0.0  # seconds, by a limit of the account

    def run(self) -> int:
        """Return how many messages were tried. Safe to call at any time and by anybody."""
        if self._is_crowded():
            return 0
        journal.settle_the_dead()
        self._adopt(patiently(self._open))
        return self.run_on()

    def run_on(self) -> int:
        """Send what has been claimed, and whatever else is due; return how many messages were tried."""
        try:
            while self._now.claim is not None or self._waits_for_a_limit():
                if self._now.claim is not None:
                    self._send(self._now.claim)
        except BaseException:
            db.session.rollback()
            self._leave()
            raise
        finally:
            self._line.close()
        if self.tried >= _AT_A_TIME:
            wake.now("drain", self.ident)
        return self.tried

    def _waits_for_a_limit(self) -> bool:
        """Wait where a limit closes the queue for a moment only, and claim again; False when that is over."""
        seconds, self._closed_for = self._closed_for, 0.0
        if not 0 < seconds <= _WORTH_WAITING or self._ends():
            return False
        time.sleep(seconds)
        self._adopt(patiently(self._open))
        return self._now.claim is not None or self._closed_for > 0

    # -- one message

    def _send(self, claim: Claim) -> None:
        self._look_again_after_a_sleep(claim)
        if self._now.claim is not claim:
            return
        following = self._now.rest[0] if self._now.rest and not self._ends() else None
        verdict = delivery.hand_in(claim, self._now.way, self._line, following=following)
        self.tried += 1
        self.moved_at = time.monotonic()
        self._adopt(patiently(lambda: together.record(lambda: self._settle(verdict))))
        journal.of_this_process().settled(claim)

    def _look_again_after_a_sleep(self, claim: Claim) -> None:
        """A process that froze between its intent and its first byte asks whether the message is still its own."""
        lease = slots.lease().total_seconds()
        if time.monotonic() - self._renewed > 2 * _RENEW_AFTER * lease:
            renewed = patiently(self._renew_alone)
            self._renewed = time.monotonic()
            if not renewed:
                _log.warning("message %s was taken over while this worker stood still", claim.message.id)
                self._leave()

    def _renew_alone(self) -> bool:
        kept = slots.renew(self._account, self._token, now=moment())
        db.session.commit()
        return kept

    # -- transactions; each is one commit, and may be run again when that failed

    def _open(self) -> _Next:
        """Take a slot, claim a batch and record the intent for its first message. Commits."""
        queue_of(self._account)
        queue, now = self._locked(), moment()
        way = delivery.way_of(self._account)
        found = self._claim(queue, way, now)
        bound = slots.most(way.route.provider if way.route else None)
        if not found or not slots.take(queue, self._token, bound=bound, now=now):
            db.session.rollback()
            return _Next()
        claims.intend(found[0], way.route, now=now)
        taken = _Next(found[0], found[1:], way, queue.turn, time.monotonic())
        db.session.commit()
        return taken

    def _settle(self, verdict: Verdict) -> _Next:
        """Record a result, and the intent to send the next message; claim more if need be."""
        following = self._after(verdict())
        if following.claim is None:
            slots.close(self._token)
        return following

    def _after(self, result: Result) -> _Next:
        rest, renewed = self._now.rest, None
        if not result.settled:
            claims.give_all_back(self.ident, self._token)
            return _Next()
        if rest and (result.stops or self._ends() or self._is_another_turn()):
            claims.give_back(rest, queue_of(self._account))
            rest = ()
        if self._ends():
            return _Next()
        now = moment()
        if self._renewal_is_due():
            if not slots.renew(self._account, self._token, now=now):
                claims.give_back(rest, queue_of(self._account))
                return _Next()
            renewed = time.monotonic()
        if rest:
            claims.intend(rest[0], self._now.way.route, now=now)
            return _Next(rest[0], rest[1:], self._now.way, self._now.turn, renewed)
        return self._more(now, renewed)

    def _more(self, now: datetime, renewed: float | None) -> _Next:
        """Claim the next batch, by the way that is right now."""
        queue = self._locked()
        way = delivery.way_of(self._account)
        found = self._claim(queue, way, now)
        queue.served_at = now
        if not found:
            return _Next()
        claims.intend(found[0], way.route, now=now)
        return _Next(found[0], found[1:], way, queue.turn, renewed)

    def _is_another_turn(self) -> bool:
        """Whether the queue was held or let go since the batch was claimed: other settings may hold by now."""
        return bool(_TURN.scalar({"i": self.ident}) != self._now.turn)

    def _locked(self) -> Queue:
        return db.session.get_one(Queue, self.ident, with_for_update=True, populate_existing=True)

    def _claim(self, queue: Queue, way: Way, now: datetime) -> list[Claim]:
        limit = listeners.allowance(queue, self._size if way.route else 1, now)
        if not limit:
            self._closed_for = rates.closed_for(self.ident, now)
            return []
        found = claims.claim_batch(queue, self._token, way.route, limit=limit, now=now)
        rates.spend(self.ident, len(found), now)
        return found

    # -- what counts once a transaction has committed

    def _adopt(self, following: _Next) -> None:
        fresh = following.claim is not None and following.claim.first
        if fresh and self._batch_at:
            self._measure()
        if fresh:
            self._batch_at = time.monotonic()
        if following.renewed is not None:
            self._renewed = following.renewed
        self._now = following

    def _measure(self) -> None:
        """Size the next batch by how long the last one took, and wish for company where that is of use."""
        took = time.monotonic() - self._batch_at
        full, self._size = self._size, min(_BATCH, 2 * self._size) if took < _LONG / 2 else self._size
        if took > _LONG:
            self._size = max(1, self._size // 2)
        self.is_slow = took > full * _WORTH_HELP
        if not self._asked_for_help and self.is_slow:
            self._asked_for_help = True  # one each: whoever comes may ask for the next
            wake.now("drain", self.ident)

    def _ends(self) -> bool:
        return delivery.stopping.is_set() or self.tried + 1 > _AT_A_TIME

    def _renewal_is_due(self) -> bool:
        return time.monotonic() - self._renewed > _RENEW_AFTER * slots.lease().total_seconds()

    def _is_crowded(self) -> bool:
        """Whether the queue has all its slots, as far as a look without any lock can tell.

        PostgreSQL could show what was true a moment ago, and then nobody would see what was just announced.
        """
        if db.engine.dialect.name == "postgresql":
            return False
        with reading():
            now = moment()
            query = select(db.func.count()).where(Slot.account_id == self.ident, Slot.lease_until > now)
            taken = db.session.scalar(query) or 0
            db.session.rollback()
        return taken >= slots.USUAL

    def _leave(self) -> None:
        """Give everything back that was not begun; where the database does not answer, the pulse does it later."""
        if self._now.claim is not None:
            journal.of_this_process().abandon(self._now.claim)
        self._now = _Next()
        try:
            give_back(self.ident, self._token)
        except SQLAlchemyError:
            db.session.rollback()
            slots.leave_behind(self.ident, self._token)


def give_back(ident: int, token: str) -> None:
    """End a drain from outside: its slot and what it had claimed and not begun. Commits."""
    claims.give_all_back(ident, token)
    slots.close(token)
    db.session.commit()
