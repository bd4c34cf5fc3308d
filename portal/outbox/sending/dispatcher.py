"""The dispatcher: runs the drains of one worker process, with a bulkhead for unhealthy servers.

The thread that takes a drain job waits for the drain as long as it makes progress. A drain without progress continues in
its own thread, and the job thread serves the next account. Drains of servers that did not answer last time, or were
never tried, use at most a part of all connections, so servers that hang do not delay other accounts.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...state import get_state
from ..store.sql import get_store
from .drain import Drain

if TYPE_CHECKING:
    from flask import Flask

_log = logging.getLogger(__name__)


class Dispatcher:
    """The drains of this process, at most ``limit`` at a time."""

    def __init__(self, app: Flask, limit: int) -> None:
        self._app = app
        self._tuning = get_state(app).config.tuning
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="drain")
        self._lock = threading.Lock()
        self._limit = limit
        self._unhealthy_limit = max(1, int(limit * self._tuning.unhealthy_connections_fraction))
        self._unhealthy: set[Drain] = (
            set()
        )  # drains of servers that did not answer last time, or were never tried
        self._drains: dict[int, list[Drain]] = {}  # by account id
        self._rerun: set[int] = set()  # accounts whose job came while a drain was running
        self._waiting: dict[int, None] = {}  # accounts that wait for the bulkhead, in order

    def serve(self, account_id: int) -> None:
        """Drain one account's queue, or wake the drain that is running."""
        drain, healthy = self._new_drain(account_id)
        if not self._admit(drain, healthy=healthy):
            return
        self._pool.submit(self._run, drain)
        if healthy:
            self._wait_while_progressing(drain)

    def close(self) -> None:
        """Wait for the running drains; drains that have not begun are left to other workers."""
        for drain in self.running():
            drain.wake()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def running(self) -> list[Drain]:
        """Return the drains that are admitted and have not ended."""
        with self._lock:
            return [drain for drains in self._drains.values() for drain in drains]

    def _new_drain(self, account_id: int) -> tuple[Drain, bool]:
        """Return a drain, and whether the account's server answered last time."""
        with self._app.app_context():
            return Drain(account_id), get_store().is_healthy(account_id)

    def _admit(self, drain: Drain, *, healthy: bool) -> bool:
        account_id = drain.account_id
        with self._lock:
            others = self._drains.get(account_id, [])
            idle = [one for one in others if one.idle.is_set()]
            if idle or (others and not self._need_help(others)):
                for one in idle[:1] or others:
                    one.wake()
                self._rerun.add(account_id)  # the running drain may be about to end
                return False
            if not healthy and len(self._unhealthy) >= self._unhealthy_limit:
                self._waiting[account_id] = None
                return False
            if healthy:
                drain.may_idle = self._has_room
            else:
                self._unhealthy.add(drain)
            drain.sizer.is_helper = bool(others)
            self._drains.setdefault(account_id, []).append(drain)
        return True

    def _need_help(self, drains: list[Drain]) -> bool:
        """Whether a further drain is of use: one is slow, and none still waits for the database.

        Those that wait hold a thread and a connection to the database each, and may never get a lease.
        """
        if not all(one.opened.is_set() for one in drains):
            return False
        now = time.monotonic()
        return any(one.sizer.is_slow or now - one.progressed_at > self._tuning.help_after_s for one in drains)

    def _run(self, drain: Drain) -> None:
        try:
            with self._app.app_context():
                drain.run()
        except Exception:  # the top of this thread: the next sweep finds the messages that are left
            _log.exception("draining the queue of account %s failed", drain.account_id)
        finally:
            self._remove(drain)
            drain.idle.set()

    def _has_room(self) -> bool:
        """Whether so few connections are in use that an idle one delays no other account."""
        in_use = sum(len(drains) for drains in list(self._drains.values()))
        return in_use <= self._limit * self._tuning.idle_in_use_fraction

    def _remove(self, drain: Drain) -> None:
        account_id = drain.account_id
        with self._lock:
            self._unhealthy.discard(drain)
            others = self._drains.get(account_id, [])
            others.remove(drain)
            if not others:
                self._drains.pop(account_id, None)
            following = [account_id] if account_id in self._rerun else []
            self._rerun.discard(account_id)
            if len(self._unhealthy) < self._unhealthy_limit and self._waiting:
                following.append(next(iter(self._waiting)))
                del self._waiting[following[-1]]
        for one in following:
            self._start_without_waiting(one)

    def _start_without_waiting(self, account_id: int) -> None:
        try:
            drain, healthy = self._new_drain(account_id)
            if self._admit(drain, healthy=healthy):
                self._pool.submit(self._run, drain)
        except Exception:  # the process is stopping, or the database is away: the sweep finds the account
            _log.debug("account %s is left to the sweep", account_id, exc_info=True)

    def _wait_while_progressing(self, drain: Drain) -> None:
        while (left := drain.progressed_at + self._tuning.stalled_after_s - time.monotonic()) > 0:
            if drain.idle.wait(left):
                return


@dataclass
class Dispatching:
    """The dispatcher of a worker process; None in any other process."""

    dispatcher: Dispatcher | None = None


def serve(app: Flask, account_id: int) -> None:
    """Drain a queue by the dispatcher of this process, or in the calling thread if it has none."""
    dispatcher = get_state(app).part(Dispatching).dispatcher
    if dispatcher is not None:
        dispatcher.serve(account_id)
        return
    with app.app_context():
        Drain(account_id).run()
