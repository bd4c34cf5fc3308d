"""Tell the worker, once a transaction has committed, that there is something to do.

A wish names a job and one id; it may be lost or repeated without harm, because the tables are the
truth and the worker's sweep finds what is due. It never carries a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.orm import Session

from .db import db

Runner = Callable[[str, int], None]  # (job, id): "drain" an account, "check" a version

_log = logging.getLogger(__name__)
_KEY = "signet.wishes"


def install(app: Flask, runner: Runner) -> None:
    """Give the app the runner that passes wishes on."""
    app.extensions["signet.wake"] = runner


def after_commit(job: str, ident: int) -> None:
    """Ask for a job as soon as, and only if, the present transaction commits."""
    db.session.info.setdefault(_KEY, {})[(job, ident)] = True


def now(job: str, ident: int) -> None:
    """Ask for a job at once. Never raises: the sweep finds whatever could not be announced."""
    runner: Runner = current_app.extensions["signet.wake"]
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
