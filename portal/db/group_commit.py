"""Group commit: the work of several threads of one process, committed in one transaction.

SQLite has one writer, so threads that commit one by one wait for each other. The first waiting thread becomes the
leader and commits the work of all threads that queued during the previous commit. A lone thread does not wait. Every
thread continues when its work is committed, and not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.exc import InterfaceError, OperationalError

from . import db
from .transaction import raw_transaction, session_in_transaction, session_transaction, short_transaction

if TYPE_CHECKING:
    from sqlalchemy import Engine

_T = TypeVar("_T")


@dataclass
class _Work:
    """The work of one thread and its result."""

    function: Callable[[], Any]
    raw: bool = False  # it uses prepared statements only, and no session
    turn: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    result: Any = None
    error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self.error, self.done = error, True

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


_Join = Callable[[list[_Work]], None]  # adds the queued work to the group of a transaction


def run(function: Callable[[], _T], *, raw: bool = False) -> _T:
    """Run ``function`` in a transaction that others may share, and commit; return its result.

    ``function`` must not commit. It may run in another thread, and again after a failure of other work. ``raw`` states
    that it does not use the ORM session; it then runs in a raw transaction, unless the session has begun one already.
    """
    engine = db.engine
    if engine.dialect.name != "sqlite":
        with short_transaction() if raw else session_transaction():
            return function()
    found: _T = of_engine(engine).run(_Work(function, raw and not session_in_transaction()))
    return found


class GroupCommit:
    """The shared transactions of one process on one database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queued: list[_Work] = []
        self._has_leader = False

    def run(self, mine: _Work) -> Any:
        """Commit ``mine`` as leader or as part of another thread's transaction; return its result."""
        if not self._becomes_leader(mine):
            mine.turn.acquire()  # until it is committed, or this thread is the next leader
            if mine.done:
                return mine.outcome()
        group: list[_Work] = []
        try:
            _commit(group, partial(self._join, raw=mine.raw), raw=mine.raw)
        except BaseException as error:  # the others must never be left waiting
            for work in group:
                work.end(error)
        finally:
            self._hand_over(group, mine)
        return mine.outcome()

    def _join(self, group: list[_Work], *, raw: bool) -> None:
        """Move all queued work into the group. Work that needs the session stays queued during a raw transaction."""
        with self._lock:
            group += [work for work in self._queued if work.raw or not raw]
            self._queued = [work for work in self._queued if raw and not work.raw]

    def _becomes_leader(self, mine: _Work) -> bool:
        with self._lock:
            self._queued.append(mine)
            leads, self._has_leader = not self._has_leader, True
            if not leads:
                mine.turn.acquire()
        return leads

    def _hand_over(self, group: list[_Work], mine: _Work) -> None:
        """Wake the threads of the group, and the first queued thread as the next leader."""
        with self._lock:
            next_leader = self._queued[0] if self._queued else None
            self._has_leader = next_leader is not None
        for work in [*group, *([next_leader] if next_leader else [])]:
            if work is not mine:
                work.turn.release()


_by_engine: WeakKeyDictionary[Engine, GroupCommit] = WeakKeyDictionary()
_by_engine_lock = threading.Lock()


def of_engine(engine: Engine) -> GroupCommit:
    """Return the group commit of one database in this process."""
    with _by_engine_lock:
        return _by_engine.setdefault(engine, GroupCommit())


def _commit(group: list[_Work], join: _Join, *, raw: bool) -> None:
    try:
        with (raw_transaction if raw else session_transaction)():
            join(group)  # includes the work queued while another process was writing
            for work in group:
                work.result = work.function()
        for work in group:
            work.end()
    except (OperationalError, InterfaceError) as error:  # a failure of the database, not of one function
        db.session.rollback()
        join(group)
        for work in group:
            work.end(error)
    except BaseException as error:
        db.session.rollback()
        join(group)
        if len(group) == 1:
            group[0].end(error)
            return
        for work in group:  # one of them failed: commit each alone, so that the others succeed
            _commit([work], _join_nothing, raw=work.raw)


def _join_nothing(_group: list[_Work]) -> None:
    """Add no other work to a transaction."""
