"""What several connections of one process have to record at the same moment, in one transaction.

SQLite has one writer: connections that each commit for themselves wait for one another. So the first to come
records for all who came while the transaction before was under way, and whoever is alone waits for nobody. Each
goes on when what it has to record is committed, and not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import current_app
from sqlalchemy.exc import InterfaceError, OperationalError

from ..db import db, one_moment

_KEY = "signet.together"
_T = TypeVar("_T")


@dataclass
class _Part:
    """What one of them has to record, and what came of it."""

    deed: Callable[[], Any]
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


def record(deed: Callable[[], _T]) -> _T:
    """Run a deed that does not commit itself, and commit it. It may run in another thread, and more than once."""
    if db.engine.dialect.name != "sqlite":
        with one_moment():
            result = deed()
            db.session.commit()
        return result
    together: Together = current_app.extensions.setdefault(_KEY, Together())
    found: _T = together.take_part(deed)
    return found


class Together:
    """The transactions of one process that several may take part in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Part] = []
        self._somebody_records = False

    def take_part(self, deed: Callable[[], Any]) -> Any:
        mine = _Part(deed)
        if not self._leads(mine):
            mine.turn.acquire()  # until it is recorded, or it is ours to record
            if mine.done:
                return mine.outcome()
        parts: list[_Part] = []
        try:
            _record(parts, self._join)
        except BaseException as trouble:  # never keep the others waiting
            for part in parts:
                part.end(trouble)
        finally:
            self._pass_on(parts, mine)
        return mine.outcome()

    def _join(self, parts: list[_Part]) -> None:
        """Let all who wait take part."""
        with self._lock:
            parts += self._waiting
            self._waiting = []

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


def _record(parts: list[_Part], join: Callable[[list[_Part]], None]) -> None:
    try:
        _commit(parts, join)
    except (OperationalError, InterfaceError) as trouble:  # of the database, not of any of them
        db.session.rollback()
        join(parts)
        for part in parts:
            part.end(trouble)
    except BaseException as trouble:
        db.session.rollback()
        join(parts)
        if len(parts) == 1:
            parts[0].end(trouble)
            return
        for part in parts:  # one is at fault: the others shall not suffer for it
            _record([part], _nobody)


def _nobody(_parts: list[_Part]) -> None:
    """Join nobody: each is recorded by itself."""


def _commit(parts: list[_Part], join: Callable[[list[_Part]], None]) -> None:
    with one_moment():
        join(parts)  # whoever came while it was another process' turn to write goes along
        results = [part.deed() for part in parts]
        db.session.commit()
    for part, result in zip(parts, results, strict=True):
        part.result = result
        part.end()
