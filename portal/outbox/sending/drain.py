"""Sends one account's due messages over one connection until none is left.

A drain holds one connection lease. An acceptance is written to the acceptance log at once and to the database in batches,
so a crash repeats at most the message in progress (see store/acceptance_log.py). On PostgreSQL, unless SIGNET_RECORD is
"log", each message is recorded in the table before the next one starts (see store/one_statement.py).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ...db import db
from ...jobs import notify
from ...state import current_config
from . import deliver
from .connection import ReusableConnection
from .drain_transactions import DrainTransactions
from .outcomes import Accepted, SettleAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..routing import Route
    from ..store.types import Claim


def drain_queue(account_id: int) -> int:
    """Send what is due in one account's queue until nothing is left; return the number of messages tried."""
    return Drain(account_id).run()


class Drain:
    """One connection of one account. ``account_id`` is SYSTEM for the portal's own mail.

    Created and run within an app context; ``wake``, ``opened``, ``idle`` and ``progressed_at`` are for other threads.
    """

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.progressed_at = time.monotonic()  # when a message was submitted last
        self.opened = threading.Event()  # set when it has a lease and claims, or has found that it gets none
        self.idle = threading.Event()  # set while there is nothing to send
        self.may_idle: Callable[[], bool] = lambda: False  # whether the connection may be kept while idle
        self._tuning = current_config().tuning
        self._connection = ReusableConnection(
            on_wait=self._flush, on_body_sent=self._use_wait, keep_waiting=self._keep_lease
        )
        self._transactions = DrainTransactions(account_id, can_idle=self._can_idle)
        self.sizer = self._transactions.sizer

    def run(self) -> int:
        """Send what is due; return the number of messages tried. Any process may run it at any time."""
        if self._transactions.store.is_account_limit_reached(self.account_id):
            return 0
        self._transactions.store.recover_orphaned()
        self.start()
        return self.run_claimed()

    def start(self) -> bool:
        """Acquire a connection lease and claim the first batch; False if nothing is due or a limit is reached."""
        self._transactions.open()
        self.opened.set()
        return self.current is not None

    def run_claimed(self) -> int:
        """Send what was claimed and everything else that is due; return the number of messages tried."""
        try:
            while self._next_claim() is not None:
                self.send_current()
        except BaseException:
            db.session.rollback()
            self.abandon()
            raise
        finally:
            self._connection.close()
        if self.sizer.yields:
            notify.push("drain", self.account_id)  # for the messages that are left
        return self.tried

    def send_current(self) -> None:
        """Submit the current claim; then the next message is current, or there is none."""
        claim = self._transactions.verify_lease_after_stall()
        if claim is None:
            return  # another worker has the messages
        following = self._following()
        action = self._submit(claim, following)
        if isinstance(action, Accepted) and self._transactions.log_and_advance(action, following):
            return  # within the batch: the acceptance log is the only record for a moment
        self._transactions.settle_and_claim()

    def wake(self) -> None:
        """Make the drain poll for new messages: an idle one at once, a busy one at the end of its batch."""
        self._transactions.new_work.set()

    def abandon(self) -> None:
        """Release the lease and every claim whose attempt has not started. Commits."""
        self._transactions.abandon()

    @property
    def tried(self) -> int:
        """How many messages were submitted, whatever the result."""
        return self._transactions.tried

    @property
    def current(self) -> Claim | None:
        """The claim to be submitted next, whose start is recorded."""
        return self._transactions.next.claim

    @property
    def claims(self) -> list[Claim]:
        """All claims of the present batch that are not submitted, the current one first."""
        step = self._transactions.next
        return [step.claim, *step.remaining] if step.claim else []

    @property
    def route(self) -> Route | None:
        """The route of the present batch."""
        return self._transactions.next.lookup.route

    @property
    def token(self) -> str:
        """The token of the lease and the claims."""
        return self._transactions.token

    # -- steps

    def _next_claim(self) -> Claim | None:
        """Return the current claim; if there is none, wait for a rate limit or, while idle, for new messages."""
        while self.current is None and (self._wait_for_rate_limit() or self._wait_idle()):
            pass
        return self.current

    def _following(self) -> Claim | None:
        """Return the claim whose envelope may be pipelined with the end of the current message."""
        remaining = self._transactions.next.remaining
        if not remaining or remaining[0].refusal is not None or self._transactions.is_stopping():
            return None
        return remaining[0]

    def _submit(self, claim: Claim, following: Claim | None) -> SettleAction:
        self._transactions.log_start(claim)
        lookup = self._transactions.next.lookup
        action = deliver.submit(claim, lookup, self._connection, following=following)
        self._transactions.tried += 1
        self.progressed_at = time.monotonic()
        self._transactions.submitted.append((claim, action))
        return action

    def _wait_for_rate_limit(self) -> bool:
        """Wait for a rate limit that ends soon, and claim again; False if there is none or it takes longer."""
        transactions = self._transactions
        seconds, transactions.seconds_until_allowed = transactions.seconds_until_allowed, 0.0
        if not 0 < seconds <= self._tuning.rate_limit_wait_s or transactions.is_stopping():
            return False
        time.sleep(seconds)
        transactions.open()
        return self.current is not None or transactions.seconds_until_allowed > 0

    def _wait_idle(self) -> bool:
        """Keep lease and connection for the idle time; return whether messages arrived in that time."""
        transactions = self._transactions
        if not transactions.next.is_idle:
            return False
        self.sizer.pause(self.tried)
        until = time.monotonic() + self._tuning.idle_s
        self.idle.set()
        try:
            while time.monotonic() < until and not transactions.is_stopping():
                is_woken = transactions.new_work.wait(self._tuning.idle_poll_s)
                transactions.new_work.clear()
                if is_woken or transactions.has_due_messages():
                    transactions.resume()
                if self.current is not None or not transactions.next.is_idle:
                    return self.current is not None
        finally:
            self.idle.clear()
        transactions.close()
        return False

    # -- callbacks of the connection

    def _flush(self) -> None:
        """Settle the submitted messages while the server is slow to reply."""
        self._transactions.flush()

    def _keep_lease(self) -> bool:
        """Renew the lease while the server is silent. The wait goes on in any case: giving up could repeat a message."""
        self._transactions.renew_while_waiting()
        return True

    def _use_wait(self) -> None:
        """Do while the server reads a message what the next one would wait for: build one ahead, settle what is old."""
        step = self._transactions.next
        for one in step.remaining[1:2]:
            if step.lookup.route is not None:
                self._connection.prepared.prebuild(one, step.lookup.route)
        self._transactions.flush_early()

    def _can_idle(self) -> bool:
        return self._connection.is_open and self.may_idle()
