"""Tell the worker, once a transaction has committed, that there is something to do.

A wish names a job and one id; it may be lost or repeated without harm, because the tables are the
truth and the worker's sweep finds what is due. It never carries a message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.orm import Session

from ..db import db
from ..db.transaction import is_past_session, present

Runner = Callable[[str, int], None]  # (job, id): "drain" an account, "check" a version

_log = logging.getLogger(__name__)
_KEY = "signet.wishes"
_PAUSE = 0.1  # seconds before the same wish is passed on again
_REMEMBERED = 1_000  # wishes


def install(app: Flask, runner: Runner) -> None:
    """Give the app the runner that passes wishes on."""
    app.extensions["signet.wake"] = runner
    app.extensions["signet.crier"] = _Crier()


def after_commit(job: str, ident: int) -> None:
    """Ask for a job as soon as, and only if, the present transaction commits."""
    if is_past_session():
        present().after_commit[(job, ident)] = partial(now, job, ident)
    else:
        db.session.info.setdefault(_KEY, {})[(job, ident)] = True


class _Crier:
    """Passes wishes on. One that is said again and again is passed on at once, then a few times a second, and last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed_on: dict[tuple[str, int], float] = {}  # when a wish was passed on, or will be

    def cry(self, runner: Runner, job: str, ident: int) -> None:
        wait = self._wait(job, ident)
        if wait is None:
            return
        if wait <= 0:
            _pass_on(runner, job, ident)
        else:
            threading.Timer(wait, _pass_on, (runner, job, ident)).start()

    def _wait(self, job: str, ident: int) -> float | None:
        """Return when a wish is to be passed on, from now; None if somebody will."""
        present, wish = time.monotonic(), (job, ident)
        with self._lock:
            if len(self._passed_on) > _REMEMBERED:
                self._passed_on.clear()
            last = self._passed_on.get(wish, present - _PAUSE)
            if present < last:
                return None
            self._passed_on[wish] = max(present, last + _PAUSE)
            return last + _PAUSE - present


def now(job: str, ident: int) -> None:
    """Ask for a job at once. Never raises: the sweep finds whatever could not be announced."""
    crier: _Crier = current_app.extensions["signet.crier"]
    crier.cry(current_app.extensions["signet.wake"], job, ident)


def _pass_on(runner: Runner, job: str, ident: int) -> None:
    try:
        runner(job, ident)
    except (
        Exception
    ):  # the mail is safe in its table, so a full disk or locked queue must not fail the caller
        _log.exception("could not announce %s %s; the sweep will find it", job, ident)


@event.listens_for(Session, "after_commit")
def _committed(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released; others see nothing of it before the whole commits
    for job, ident in session.info.pop(_KEY, None) or {}:
        now(job, ident)


@event.listens_for(Session, "after_rollback")
def _rolled_back(session: Session) -> None:
    session.info.pop(_KEY, None)
