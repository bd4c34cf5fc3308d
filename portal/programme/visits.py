"""Counts visits in memory and writes them once a second, so that a visit costs no transaction.

A process that is killed loses the visits of at most the last second (``Tuning.visit_flush_s``); one that ends in order
writes them first. While the database is away, the counts stay in memory, and writing them is tried again every few seconds
(``Tuning.visit_retry_s``); a process that ends then loses them.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Date, Integer, bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from ..accounts.models import Account
from ..affiliates.models import Affiliate
from ..clock import utcnow
from ..db import db, insert, read_write
from ..state import get_state
from .models import VisitCount
from .visitors import TodaysVisitors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from flask import Flask
    from sqlalchemy import Table

_log = logging.getLogger(__name__)
_COUNTED = ("visits", "visitors", "others")


@dataclass
class _Counts:
    visits: int = 0
    visitors: int = 0
    others: int = 0

    def add(self, more: _Counts) -> None:
        self.visits += more.visits
        self.visitors += more.visitors
        self.others += more.others


@dataclass
class _Pending:
    """What is counted and not written yet. ``reporting`` are accounts whose script reported a visit."""

    counts: dict[tuple[int, date], _Counts] = field(default_factory=dict)
    reporting: dict[int, datetime] = field(default_factory=dict)


class VisitBuffer:
    """The counts of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending = _Pending()
        self._timer: threading.Timer | None = None
        self._today = TodaysVisitors()

    def count(
        self, app: Flask, affiliate_id: int, zone: str, environ: Mapping[str, Any], *, is_person: bool
    ) -> None:
        """Count one request for an affiliate's link."""
        now = utcnow()
        counts = _Counts(others=1)
        if is_person:
            counts = _Counts(1, int(self._today.is_new(affiliate_id, environ, now.date())))
        with self._lock:
            key = (affiliate_id, now.astimezone(ZoneInfo(zone)).date())
            self._pending.counts.setdefault(key, _Counts()).add(counts)
            self._start_timer(app)

    def note_report(self, app: Flask, account_id: int) -> None:
        """Note that the script of an account's shop reported a visit."""
        with self._lock:
            self._pending.reporting[account_id] = utcnow()
            self._start_timer(app)

    def flush(self, app: Flask) -> None:
        """Write the counts, in one transaction. After a failure they are kept, and written later."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()  # it may be another thread's, and has nothing to write any more
            pending, self._pending, self._timer = self._pending, _Pending(), None
        if not pending.counts and not pending.reporting:
            return
        try:
            with app.app_context(), read_write():
                _write(pending)
        except SQLAlchemyError as error:
            _log.warning(
                "%s counts of visits wait for the database: %s", len(pending.counts), type(error).__name__
            )
            self._take_back(app, pending)

    def _start_timer(self, app: Flask, *, again: bool = False) -> None:
        if self._timer is None:
            tuning = get_state(app).config.tuning
            delay_s = tuning.visit_retry_s if again else tuning.visit_flush_s
            # Not a daemon: a process that ends in order waits for it.
            timer = threading.Timer(delay_s, self.flush, (app,))
            timer.start()
            self._timer = timer

    def _take_back(self, app: Flask, pending: _Pending) -> None:
        with self._lock:
            for key, counts in pending.counts.items():
                self._pending.counts.setdefault(key, _Counts()).add(counts)
            self._pending.reporting = pending.reporting | self._pending.reporting
            if threading.main_thread().is_alive():  # else the process ends, and would never
                self._start_timer(app, again=True)


def buffer_of(app: Flask) -> VisitBuffer:
    """Return the counts of this app."""
    return get_state(app).part(VisitBuffer)


def _write(pending: _Pending) -> None:
    # In one order, so that two processes do not wait for each other's rows.
    rows = [
        {"affiliate": key[0], "on_day": key[1], **{f"n_{name}": getattr(counts, name) for name in _COUNTED}}
        for key, counts in sorted(pending.counts.items())
    ]
    if rows:
        db.session.execute(_upsert(db.engine.dialect.name), rows)
    for account_id, at in sorted(pending.reporting.items()):
        db.session.execute(update(Account).where(Account.id == account_id).values(script_seen_at=at))
    db.session.commit()


@cache
def _upsert(_dialect: str) -> Any:
    """Return the statement that adds counts to a row. An affiliate that no longer exists gets none."""
    table, affiliate = cast("Table", VisitCount.__table__), Affiliate.__table__
    numbers = [bindparam(f"n_{name}", type_=Integer) for name in _COUNTED]
    values = select(affiliate.c.id, bindparam("on_day", type_=Date), *numbers)
    values = values.where(affiliate.c.id == bindparam("affiliate"))
    statement = insert(table).from_select(["affiliate_id", "day", *_COUNTED], values)
    added = {name: table.c[name] + statement.excluded[name] for name in _COUNTED}
    return statement.on_conflict_do_update(index_elements=["affiliate_id", "day"], set_=added)
