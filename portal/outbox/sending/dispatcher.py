"""Lanes: who may be served at once in one process, so that servers which hang delay nobody else.

A drain whose server answered last time is waited for by the thread that was told of it, for as long as it gets
on. One that stands still for a second is left to itself, and the thread serves the next account. Servers that
did not answer last time, or were never asked, take a lane of their own, which is never more than half of all.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from ...db import db, read_only
from ...state import get_state
from ..models import Queue
from .drain import Drain

if TYPE_CHECKING:
    from flask import Flask

_PATIENCE = 1.0  # seconds without anything coming of it, after which a thread leaves a drain to itself
_HASTE = 0.2  # seconds after which a second connection of the same account may be of use
_log = logging.getLogger(__name__)


class Lanes:
    """The drains of this process; ``most`` is how many may be under way at once."""

    def __init__(self, app: Flask, most: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="drain")
        self._lock = threading.Lock()
        self._most = most
        self._most_probing = max(1, most // 2)
        self._probing: set[Drain] = set()
        self._at_work: dict[int, list[Drain]] = {}
        self._again: set[int] = set()  # told of while somebody was at it
        self._waiting: dict[int, None] = {}  # for the lane of those that did not answer, in their order

    def serve(self, ident: int) -> None:
        """Drain one account's queue, or see to it that somebody does."""
        proven = self._is_proven(ident)
        drain = Drain(ident)
        if not self._admit(drain, proven):
            return
        self._pool.submit(self._run, drain)
        if proven:
            self._watch(drain)

    def close(self) -> None:
        """Wait for the drains under way; those that have not begun are left to others."""
        with self._lock:
            for drain in [one for drains in self._at_work.values() for one in drains]:
                drain.tell()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self, drain: Drain, proven: bool) -> bool:
        with self._lock:
            others = self._at_work.get(drain.ident, [])
            resting = [one for one in others if one.at_rest.is_set()]
            if resting:
                resting[0].tell()
                self._again.add(drain.ident)  # in case it was about to end
                return False
            if others and not any(self._needs_help(one) for one in others):
                for one in others:
                    one.tell()
                self._again.add(drain.ident)  # it is looked at once more when that one has ended
                return False
            if not proven:
                if len(self._probing) >= self._most_probing:
                    self._waiting[drain.ident] = None
                    return False
                self._probing.add(drain)
            else:
                drain.may_rest = self._has_room
            drain.is_help = bool(others)
            self._at_work.setdefault(drain.ident, []).append(drain)
        return True

    @staticmethod
    def _needs_help(drain: Drain) -> bool:
        return drain.pace.is_slow or time.monotonic() - drain.moved_at > _HASTE

    def _run(self, drain: Drain) -> None:
        try:
            with self._app.app_context():
                drain.run()
        except Exception:  # the top of this thread: the sweep finds what is left
            _log.exception("the queue of account %s could not be drained just now", drain.ident)
        finally:
            self._forget(drain)
            drain.at_rest.set()

    def _has_room(self) -> bool:
        """Whether a connection that has nothing to do is in nobody's way."""
        return 2 * sum(len(drains) for drains in list(self._at_work.values())) <= self._most

    def _forget(self, drain: Drain) -> None:
        with self._lock:
            self._probing.discard(drain)
            others = self._at_work.get(drain.ident, [])
            others.remove(drain)
            if not others:
                self._at_work.pop(drain.ident, None)
            again = [drain.ident] if drain.ident in self._again else []
            self._again.discard(drain.ident)
            if len(self._probing) < self._most_probing and self._waiting:
                again.append(next(iter(self._waiting)))
                del self._waiting[again[-1]]
        for ident in again:
            self._follow(ident)

    def _follow(self, ident: int) -> None:
        """Serve another queue after one has ended, without holding a thread up."""
        try:
            proven = self._is_proven(ident)
            drain = Drain(ident)
            if self._admit(drain, proven):
                self._pool.submit(self._run, drain)
        except Exception:  # the process is ending, or the database is away: the sweep finds it
            _log.debug("account %s is left to the sweep", ident, exc_info=True)

    def _watch(self, drain: Drain) -> None:
        """Wait while a drain gets on."""
        while (left := drain.moved_at + _PATIENCE - time.monotonic()) > 0:
            if drain.at_rest.wait(left):
                return

    def _is_proven(self, ident: int) -> bool:
        with self._app.app_context(), read_only():
            found = db.session.scalar(select(Queue.healthy).where(Queue.account_id == ident))
            db.session.rollback()
        return bool(found)


@dataclass
class Dispatching:
    """The dispatcher of a worker process; None in any other process."""

    lanes: Lanes | None = None


def serve(app: Flask, ident: int) -> None:
    """Drain a queue in the lanes of this process, or right here where it has none."""
    lanes = get_state(app).part(Dispatching).lanes
    if lanes is not None:
        lanes.serve(ident)
        return
    with app.app_context():
        Drain(ident).run()
