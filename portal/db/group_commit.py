"""What several connections of one process have to record at the same moment, in one transaction.

SQLite has one writer: connections that each commit for themselves wait for one another. So the first to come
records for all who came while the transaction before was under way, and whoever is alone waits for nobody. Each
goes on when what it has to record is committed, and not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.exc import InterfaceError, OperationalError

from . import db
from .transaction import in_session, past_session, session_has_begun

if TYPE_CHECKING:
    from sqlalchemy import Engine

_T = TypeVar("_T")


@dataclass
class _Part:
    """What one of them has to record, and what came of it."""

    deed: Callable[[], Any]
    swift: bool = False  # its statements are, all of them: it needs no session
    turn: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    result: Any = None
    trouble: BaseException | None = None

    def end(self, trouble: BaseException | None = None) -> None:
        self.trouble, self.done = trouble, True

    def outcome(self) -> Any:
        if self.trouble is not None:
            raise self.trouble
        return self.result


# Brings whoever waits into the parts of a transaction, which is past the session or not.
_Join = Callable[[list[_Part], bool], None]


def record(deed: Callable[[], _T], *, swift: bool = False) -> _T:
    """Run a deed that does not commit itself, and commit it. It may run in another thread, and more than once.

    ``swift`` says that it asks nothing of the session: it may be recorded past it, unless that has begun already.
    """
    if db.engine.dialect.name != "sqlite":
        with in_session():
            return deed()
    found: _T = of_engine(db.engine).take_part(_Part(deed, swift and not session_has_begun()))
    return found


class Together:
    """The transactions of one process that several may take part in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Part] = []
        self._somebody_records = False

    def take_part(self, mine: _Part) -> Any:
        if not self._leads(mine):
            mine.turn.acquire()  # until it is recorded, or it is ours to record
            if mine.done:
                return mine.outcome()
        parts: list[_Part] = []
        try:
            _record(parts, self._join, past=mine.swift)
        except BaseException as trouble:  # never keep the others waiting
            for part in parts:
                part.end(trouble)
        finally:
            self._pass_on(parts, mine)
        return mine.outcome()

    def _join(self, parts: list[_Part], past: bool) -> None:
        """Let all who wait take part; past the session, those who need it stay."""
        with self._lock:
            parts += [part for part in self._waiting if part.swift or not past]
            self._waiting = [part for part in self._waiting if past and not part.swift]

    def _leads(self, mine: _Part) -> bool:
        with self._lock:
            self._waiting.append(mine)
            leads, self._somebody_records = not self._somebody_records, True
            if not leads:
                mine.turn.acquire()
        return leads

    def _pass_on(self, parts: list[_Part], mine: _Part) -> None:
        """Let those go whose part is done, and the first of those who came meanwhile record the next."""
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._somebody_records = heir is not None
        for part in [*parts, *([heir] if heir else [])]:
            if part is not mine:
                part.turn.release()


_by_engine: WeakKeyDictionary[Engine, Together] = WeakKeyDictionary()
_by_engine_lock = threading.Lock()


def of_engine(engine: Engine) -> Together:
    """Return the group commit of one database's connections in this process."""
    with _by_engine_lock:
        return _by_engine.setdefault(engine, Together())


def _record(parts: list[_Part], join: _Join, *, past: bool) -> None:
    try:
        with (past_session if past else in_session)():
            join(parts, past)  # whoever came while it was another process' turn to write goes along
            for part in parts:
                part.result = part.deed()
        for part in parts:
            part.end()
    except (OperationalError, InterfaceError) as trouble:  # of the database, not of any of them
        db.session.rollback()
        join(parts, past)
        for part in parts:
            part.end(trouble)
    except BaseException as trouble:
        db.session.rollback()
        join(parts, past)
        if len(parts) == 1:
            parts[0].end(trouble)
            return
        for part in parts:  # one is at fault: the others shall not suffer for it
            _record([part], _nobody, past=part.swift)


def _nobody(_parts: list[_Part], _past: bool) -> None:
    """Join nobody: each is recorded by itself."""
