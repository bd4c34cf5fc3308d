"""The transactions of a drain: claim, settle and claim, resume, flush, renew, release.

Each is one commit and may run again if the commit failed. It therefore returns the next step, which the drain adopts
only after the commit.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from ...clock import utcnow
from ...db import db, group_commit, read_only
from ...db.transaction import db_now
from ...jobs import notify
from ...state import current_config
from .. import callbacks, rate_limits
from ..queue import SYSTEM
from ..routing import RouteLookup, find_route
from ..store.leases import new_token
from ..store.sql import get_store
from . import deliver, outcomes
from .batch_size import BatchSizer
from .deliver import retry_while_database_is_away
from .outcomes import LOST, Result, SettleAction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..models import Queue
    from ..store.types import Claim

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass
class NextStep:
    """What the drain does next, as a transaction decided."""

    claim: Claim | None = None  # to be submitted next; its start is recorded
    remaining: Sequence[Claim] = ()  # of the batch
    lookup: RouteLookup = field(default_factory=RouteLookup)
    generation: int = 0  # of the queue, when the batch was claimed
    renewed_at: float | None = None  # monotonic time at which the lease was renewed
    now: datetime | None = None  # by the database's clock
    is_idle: bool = False  # nothing is due, and lease and connection are kept for a while

    def advance(self) -> NextStep:
        """Return the next step within the batch."""
        return NextStep(self.remaining[0], self.remaining[1:], self.lookup, self.generation)


class DrainTransactions:
    """One drain's transactions and state: its lease, its claims and the results that are not settled yet."""

    def __init__(self, account_id: int, *, can_idle: Callable[[], bool]) -> None:
        config = current_config()
        self.account_id = account_id  # SYSTEM for the portal's own mail
        self.token = new_token()
        self.tried = 0  # messages
        self.next = NextStep()
        self.sizer = BatchSizer(config.tuning)
        self.submitted: list[tuple[Claim, SettleAction]] = []  # results that only the acceptance log records
        self.new_work = Event()  # a job was pushed since the last claim
        self.seconds_until_allowed = 0.0  # by a rate limit of the account
        self.store = get_store()
        self._tuning = config.tuning
        self._lease_s = config.lease
        self._can_idle = can_idle
        self._is_stale = False  # another worker has taken over
        self._renewed_at = self._settled_at = 0.0
        self._clock = (utcnow(), time.monotonic())  # the database's clock, when it was read last
        self._claimed_all = False  # the last claim left no due message behind

    # -- transactions

    def open(self) -> None:
        """Acquire a connection lease, claim a batch and record the start of its first message. Commits."""
        self._adopt(retry_while_database_is_away(self._open))

    def settle_and_claim(self) -> None:
        """Settle all results, record the start of the next message, and claim more if the batch ends. Commits."""
        self._adopt(self._settle_and_start() or self._commit_grouped(self._settle_and_claim))
        self._discard_settled()

    def resume(self) -> None:
        """Renew the lease after an idle time and claim what is due. Commits."""
        self._adopt(self._commit_grouped(self._resume))

    def flush(self) -> None:
        """Settle the submitted messages while the server is slow; if that fails, they are settled later. Commits."""
        claim = self.next.claim
        if claim is None or (not self.submitted and claim.started_attempt_id):
            return
        is_unrecorded = not claim.started_attempt_id
        try:
            if not (is_unrecorded and self._settle_in_one_statement(claim)):
                self._is_stale |= not group_commit.run(
                    lambda: self._flush(claim, is_unrecorded=is_unrecorded)
                )
        except Exception:
            db.session.rollback()
            if is_unrecorded:
                claim.started_attempt_id = 0
            _log.debug("results are settled later", exc_info=True)
        else:
            self._discard_settled()

    def flush_early(self) -> None:
        """Settle the submitted messages if that is due soon: during a wait it delays no message. Commits."""
        early_s = self._tuning.settle_early_fraction * self._tuning.settle_lag_s
        if self.store.log_suffices and self._lag_s() > early_s:
            self.flush()

    def verify_lease_after_stall(self) -> Claim | None:
        """Return the current claim; if this process stalled, renew the lease first. Commits.

        A process may freeze between recording the start of a message and sending its first byte. None if the lease was
        lost: then all claims are released.
        """
        claim = self.next.claim
        if claim is None or not self._has_stalled():
            return claim
        is_renewed = retry_while_database_is_away(self._renew)
        self._renewed_at = time.monotonic()
        if is_renewed:
            return claim
        _log.warning("message %s was claimed by another worker while this one was stalled", claim.message.id)
        self.abandon()
        return None

    def renew_while_waiting(self) -> None:
        """Renew the lease, if that is due, while the server is silent; if it fails, it is tried again soon. Commits."""
        if not self._is_renewal_due():
            return
        try:
            self._is_stale |= not self._renew()
        except Exception:
            db.session.rollback()
            _log.debug("the lease is renewed later", exc_info=True)
        else:
            self._renewed_at = time.monotonic()

    def close(self) -> None:
        """Release the lease of a drain that has no claims. Commits."""
        self.next = NextStep()
        self._commit_grouped(lambda: self.store.release_lease(self.token))

    def abandon(self) -> None:
        """Release the lease and every claim whose attempt has not started. Commits."""
        self.next = NextStep()
        self.submitted.clear()
        self.store.release_drain(self.account_id, self.token)

    def has_due_messages(self) -> bool:
        """Whether the account has due messages. Reads only."""
        with read_only():
            found = self.store.has_due_messages(self.account_id, db_now())
            db.session.rollback()
        return found

    # -- the acceptance log

    def log_start(self, claim: Claim) -> None:
        """Log a start that is recorded in the table, so that recovery after a crash finds this drain's claims."""
        if claim.started_attempt_id:
            self.store.log_start(claim)

    def log_and_advance(self, accepted: outcomes.Accepted, following: Claim | None) -> bool:
        """Log an acceptance; return whether ``following`` may start with the log as its only record.

        Then it is the next step. Otherwise a transaction must settle and record its start.
        """
        if following is None or not self._may_start_by_log(following):
            self.store.log_accepted(accepted.claim, accepted.acceptance)
            return False
        self.store.mark_started(following, self.next.lookup.route, now=self._db_now())
        if not self.store.log_accepted(accepted.claim, accepted.acceptance, following):
            return False
        self.next = self.next.advance()
        return True

    def _may_start_by_log(self, following: Claim) -> bool:
        """Whether the log is a sufficient record, the table is not far behind, and no transaction is due anyway."""
        is_behind = self._lag_s() > self._tuning.settle_lag_s
        # The start of the first of a batch is recorded in the table, where the batch is assessed as well.
        return self.store.log_suffices and not is_behind and not following.first and self._is_within_batch()

    def _is_within_batch(self) -> bool:
        """Whether nothing is to be done before the next message but to record results and its start."""
        if self._is_stale or self._is_renewal_due() or self.is_stopping():
            return False
        return len(self.next.remaining) > 1 or self._expects_no_more()  # the one after ``following`` is known

    # -- the work of the transactions

    def _open(self) -> NextStep:
        queue, now = self.store.lock_queue(self.account_id), db_now()
        lookup = find_route(self._message_account)
        found = self._claim(queue, lookup, now)
        limit = self.store.connection_limit(lookup.route.provider if lookup.route else None)
        if not found or not self.store.acquire_lease(queue, self.token, limit=limit, now=now):
            db.session.rollback()
            return NextStep()
        self.store.record_start(found[0], lookup.route, now=now)
        step = NextStep(found[0], found[1:], lookup, queue.generation, time.monotonic(), now)
        db.session.commit()
        return step

    def _settle_and_start(self) -> NextStep | None:
        """Settle acceptances and record the next start in one statement; None where only a transaction can."""
        following = next(iter(self.next.remaining), None)
        if following is None or not self._is_within_batch():
            return None
        now = self._settle_in_one_statement(following)
        return replace(self.next.advance(), now=now) if now else None

    def _settle_in_one_statement(self, started: Claim) -> datetime | None:
        """Settle acceptances and record the start of a claim; None where only a transaction can."""
        actions = [action for _, action in self.submitted]
        return outcomes.settle_and_start(actions, started, self.next.lookup.route, self.next.generation)

    def _settle_and_claim(self) -> NextStep:
        results = outcomes.settle_all(action for _, action in self.submitted)
        lost = next((one for one in results if not one.settled), LOST if self._is_stale else None)
        step = self._after(lost or results[-1])
        if step.claim is None and not step.is_idle:
            self.store.release_lease(self.token)
        return step

    def _after(self, result: Result) -> NextStep:
        """Decide what follows a result: release the rest of the batch, or continue with it."""
        remaining, renewed_at = self.next.remaining, None
        if not result.settled:
            self.store.release_all(self.account_id, self.token)
            return NextStep()
        is_changed = self.store.get_generation(self.account_id) != self.next.generation
        if is_changed:  # held or released since the batch was claimed: its settings may have changed
            self._claimed_all = False  # held messages may be due now
        if remaining and (result.ends_batch or self.is_stopping() or is_changed):
            self.store.release_claims(remaining)
            remaining, self._claimed_all = (), False  # unless the queue was stopped, they are due again
        if self.is_stopping():
            return NextStep()
        now = db_now()
        if self._is_renewal_due():
            if not self.store.renew_lease(self._message_account, self.token, now=now):
                self.store.release_claims(remaining)
                return NextStep()
            renewed_at = time.monotonic()
        return self._continue(remaining, now, renewed_at)

    def _continue(self, remaining: Sequence[Claim], now: datetime, renewed_at: float | None) -> NextStep:
        """Claim more if less than two messages remain, and record the start of the next one."""
        lookup, generation = self.next.lookup, self.next.generation
        if len(remaining) < 2 and not self._expects_no_more() and not self._should_yield():
            # A batch is refilled before its last message: the next envelope is pipelined with the end of a body.
            queue = self.store.lock_queue(self.account_id)
            lookup, generation = find_route(self._message_account), queue.generation
            remaining = [*remaining, *self._claim(queue, lookup, now)]
            queue.last_served_at = now
        if not remaining:
            may_idle = lookup.route is not None and not self.sizer.yields and not self.seconds_until_allowed
            is_idle = may_idle and self._can_idle()
            if is_idle:  # if this worker crashes while idle, its lease is over soon
                self.store.shorten_lease(self.token, now + timedelta(seconds=2 * self._tuning.idle_s))
            return NextStep(is_idle=is_idle, renewed_at=renewed_at)
        self.store.record_start(remaining[0], lookup.route, now=now)
        return NextStep(remaining[0], remaining[1:], lookup, generation, renewed_at, now)

    def _claim(self, queue: Queue, lookup: RouteLookup, now: datetime) -> list[Claim]:
        self.new_work.clear()
        self._claimed_all = False
        limit = callbacks.allowance(queue, self.sizer.size if lookup.route else 1, now)
        if not limit:
            self.seconds_until_allowed = rate_limits.seconds_until_allowed(self.account_id, now)
            return []
        found = self.store.claim_batch(queue, self.token, lookup.route, limit=limit, now=now)
        rate_limits.consume(self.account_id, len(found), now)
        if lookup.route is not None and lookup.route.is_screened:
            callbacks.screen(self.account_id, found, now)
        self._claimed_all = len(found) < limit and not self.store.has_due_messages(self.account_id, now)
        return found

    def _resume(self) -> NextStep:
        now = db_now()
        if self.is_stopping() or not self.store.renew_lease(self._message_account, self.token, now=now):
            self.store.release_lease(self.token)
            return NextStep()
        self.sizer.resume()
        self._claimed_all = False
        return self._continue((), now, time.monotonic())

    def _flush(self, claim: Claim, *, is_unrecorded: bool) -> bool:
        """Settle the results and record a start that only the log contains; False if another worker has taken over."""
        results = outcomes.settle_all(action for _, action in self.submitted)
        if not all(one.settled for one in results) or not self.store.is_current(claim):
            return False
        if is_unrecorded:
            self.store.record_start(claim, self.next.lookup.route, now=claim.started_at or db_now())
        return True

    def _renew(self) -> bool:
        is_renewed = self.store.renew_lease(self._message_account, self.token, now=db_now())
        db.session.commit()
        return is_renewed

    # -- after a commit

    @staticmethod
    def _commit_grouped(work: Callable[[], _T]) -> _T:
        return retry_while_database_is_away(lambda: group_commit.run(work))

    def _adopt(self, step: NextStep) -> None:
        self._settled_at = time.monotonic()
        if step.now is not None:
            self._clock = (step.now, self._settled_at)
        begins_batch = step.claim is not None and step.claim.first
        if begins_batch and self.sizer.begin_batch(self.tried):
            notify.push("drain", self.account_id)  # a second connection
        if step.renewed_at is not None:
            self._renewed_at = step.renewed_at
        self.next = step

    def _discard_settled(self) -> None:
        self.store.discard_log(*(claim for claim, _ in self.submitted))
        self.submitted.clear()
        self._settled_at = time.monotonic()

    # -- conditions

    def is_stopping(self) -> bool:
        """Whether the worker is stopping."""
        return deliver.stopping.is_set()

    def _expects_no_more(self) -> bool:
        """Whether the last claim left no due message and no job was pushed since: then arriving messages are batched."""
        return self._claimed_all and not self.new_work.is_set()

    def _should_yield(self) -> bool:
        return self.sizer.should_yield(self.store.is_portal_limit_reached)

    def _lag_s(self) -> float:
        """Return how far the table is behind the acceptance log, in seconds."""
        return time.monotonic() - self._settled_at

    def _has_stalled(self) -> bool:
        """Whether a renewal is long overdue."""
        return time.monotonic() - self._renewed_at > 2 * self._tuning.lease_renew_fraction * self._lease_s

    def _is_renewal_due(self) -> bool:
        return time.monotonic() - self._renewed_at > self._tuning.lease_renew_fraction * self._lease_s

    def _db_now(self) -> datetime:
        """Return the time by the database's clock, without reading it."""
        then, at = self._clock
        return then + timedelta(seconds=time.monotonic() - at)

    @property
    def _message_account(self) -> int | None:
        """The account as messages have it: None for the portal's own mail."""
        return None if self.account_id == SYSTEM else self.account_id
