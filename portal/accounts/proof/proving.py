"""Proof of person: by the password, together with a code for a person with a second factor, or by a passkey."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ... import audit
from ...db import db
from ...security_log import SecurityEvent, record
from .. import login, sessions
from ..factors import second_step
from ..factors.state import has_factor
from ..models import Owner, ProvedBy
from ..passwords import hasher, is_refused_demo
from .kept import unpack

if TYPE_CHECKING:
    from datetime import datetime

    from ..sessions import LoggedIn


@dataclass(frozen=True)
class EnteredProof:
    """What a person entered, and the network it came from."""

    password: str = field(repr=False)
    code: str = field(repr=False)  # empty for a person without a second factor
    network: str


class SessionEnded(Exception):
    """The session ended while the person was being asked."""


def prove(user: LoggedIn, proof: EnteredProof, *, kept: str = "", now: datetime) -> str:
    """Check the password, and the code of a person with a second factor; store the proof and return the new token. Commits.

    ``kept`` is the packed form that the person had sent before, for ``sessions.kept_form``. Passwords have the rate limit
    of the session, as for a change of the password; codes have those of the person's own devices.

    Raises:
        WrongCredentials: it is not the person's password.
        WrongCode: it is no code of the person, or has counted already.
        TooManyAttempts: a rate limit is reached.
        SessionEnded: the session was ended meanwhile.
    """
    stored = db.session.get_one(Owner, user.id).password_hash
    needs_code = has_factor(user.id)
    wait = login.count_password(user.session_id, now=now)
    db.session.commit()
    if wait:
        login.record_lock_out(login.PASSWORDS_PER_SESSION.name, wait)
        raise login.TooManyAttempts(wait)
    if not hasher().verify(stored, proof.password) or is_refused_demo(proof.password):
        audit.record_refusal(audit.Activity.PROVED, user.account_id, key=user.session_id)
        record(SecurityEvent.LOG_IN_FAILED, reason="proof of person")
        raise login.WrongCredentials
    if not needs_code:
        return store(user, ProvedBy.PASSWORD, kept=kept, now=now)
    source = second_step.CodeSource.of_session(user, proof.network)
    second_step.count_code(user.id, source, now=now)
    try:
        second_step.prove(user.id, proof.code, source, now=now)
    except second_step.WrongCode:
        audit.record_refusal(audit.Activity.PROVED, user.account_id, key=user.session_id)
        record(SecurityEvent.LOG_IN_FAILED, reason="code")
        raise
    return store(user, ProvedBy.CODE, kept=kept, now=now)


def store(user: LoggedIn, proved_by: ProvedBy, *, kept: str = "", now: datetime) -> str:
    """Store a proof whose check has passed; return the session's new token. Commits. Raises SessionEnded."""
    login.reset_passwords(user.session_id, now=now)
    token = sessions.renew(user, proved_by, kept_form=kept if unpack(kept) else "", now=now)
    if token is None:
        raise SessionEnded
    record(SecurityEvent.PROVED, by=proved_by.value)
    return token
