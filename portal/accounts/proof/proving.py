"""Proof of person by what the person knows or has. The first way is the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import audit
from ...db import db
from ...security_log import SecurityEvent, record
from .. import login, sessions
from ..models import Owner, ProvedBy
from ..passwords import hasher, is_refused_demo
from .kept import unpack

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import LoggedIn


class SessionEnded(Exception):
    """The session ended while the person was being asked."""


def ways_of(_user: LoggedIn) -> tuple[ProvedBy, ...]:
    """Return the ways in which a person can prove who they are, the usual one first. One of them is enough."""
    return (ProvedBy.PASSWORD,)


def prove_by_password(user: LoggedIn, password: str, *, kept: str = "", now: datetime) -> str:
    """Check the password and store the proof; return the session's new token. Commits.

    ``kept`` is the packed form that the person had sent before, for ``sessions.kept_form``. Attempts have the rate limit
    of the session, as for a change of the password.

    Raises:
        WrongCredentials: it is not the person's password.
        TooManyAttempts: the rate limit of the session is reached.
        SessionEnded: the session was ended meanwhile.
    """
    stored = db.session.get_one(Owner, user.id).password_hash
    wait = login.count_password(user.session_id, now=now)
    db.session.commit()
    if wait:
        login.record_lock_out(login.PASSWORDS_PER_SESSION.name, wait)
        raise login.TooManyAttempts(wait)
    if not hasher().verify(stored, password) or is_refused_demo(password):
        audit.record_refusal(audit.Activity.PROVED, user.account_id, key=user.session_id)
        record(SecurityEvent.LOG_IN_FAILED, reason="proof of person")
        raise login.WrongCredentials
    return store(user, ProvedBy.PASSWORD, kept=kept, now=now)


def store(user: LoggedIn, proved_by: ProvedBy, *, kept: str = "", now: datetime) -> str:
    """Store a proof whose check has passed; return the session's new token. Commits. Raises SessionEnded."""
    login.reset_passwords(user.session_id, now=now)
    token = sessions.renew(user, proved_by, kept_form=kept if unpack(kept) else "", now=now)
    if token is None:
        raise SessionEnded
    record(SecurityEvent.PROVED, by=proved_by.value)
    return token
