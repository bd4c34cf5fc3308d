"""Log-in by password, rate-limited, without revealing which mailboxes are registered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from .. import rate_limit
from ..db import db
from ..rate_limit import RateLimit
from . import sessions
from .identifiers import mailbox_key
from .models import Owner
from .passwords import hasher

LOGINS_PER_MAILBOX = RateLimit("log-in by mailbox", 10, timedelta(minutes=15))
LOGINS_PER_NETWORK = RateLimit("log-in by network", 50, timedelta(minutes=15))


class WrongCredentials(Exception):
    """No owner has this mailbox and this password. Callers must not reveal which of the two is wrong."""


class TooManyAttempts(Exception):
    """A rate limit is reached; the next attempt is allowed after ``wait``."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("rate limit reached")
        self.wait = wait

    @property
    def minutes(self) -> int:
        """The wait in whole minutes, at least one."""
        return max(1, -(-self.wait // timedelta(minutes=1)))


@dataclass(frozen=True)
class _StoredPassword:
    id: int
    password_hash: str


def log_in(mailbox: str, password: str, *, network: str, device: str, now: datetime) -> str:
    """Check a password and start a session; return the session's token. Commits.

    Known and unknown mailboxes are treated alike: both count against the rate limits, both cost one verification.

    Raises WrongCredentials or TooManyAttempts.
    """
    key = mailbox_key(mailbox)
    stored = _find_stored_password(key, network, now)
    if not hasher().verify(stored.password_hash if stored else None, password) or stored is None:
        raise WrongCredentials
    new_hash = (
        hasher().hash(password) if hasher().needs_rehash(stored.password_hash) else stored.password_hash
    )
    return _start_session(stored, new_hash, key, device, now)


def _find_stored_password(key: str, network: str, now: datetime) -> _StoredPassword | None:
    """Count this attempt and fetch the hash in one transaction, which ends before the slow verification."""
    wait = max(count_attempt(key, now=now), rate_limit.consume_or_wait(LOGINS_PER_NETWORK, network, now=now))
    query = select(Owner.id, Owner.password_hash).where(Owner.mailbox_key == key)
    row = db.session.execute(query).one_or_none()
    db.session.commit()
    if wait:
        raise TooManyAttempts(wait)
    return _StoredPassword(row.id, row.password_hash) if row else None


def _start_session(stored: _StoredPassword, new_hash: str, key: str, device: str, now: datetime) -> str:
    # The password may have been changed during the slow verification.
    same = select(Owner).where(Owner.id == stored.id, Owner.password_hash == stored.password_hash)
    owner = db.session.scalar(same.with_for_update(of=Owner))
    if owner is None:
        db.session.rollback()
        raise WrongCredentials
    owner.password_hash = new_hash
    reset_attempts(key, now=now)
    token = sessions.start(owner.id, device=device, now=now)
    db.session.commit()
    return token


def count_attempt(key: str, *, now: datetime) -> timedelta:
    """Count one log-in attempt for this mailbox; return zero, or the time to wait. The caller commits."""
    return rate_limit.consume_or_wait(LOGINS_PER_MAILBOX, key, now=now)


def reset_attempts(key: str, *, now: datetime) -> None:
    """Reset the counted attempts for this mailbox after a correct password. The caller commits."""
    rate_limit.reset(LOGINS_PER_MAILBOX, key, now=now)


def log_in_new_owner(owner_id: int, *, device: str, now: datetime) -> str:
    """Start the session of an owner who has just registered and thereby proved the password. Commits."""
    token = sessions.start(owner_id, device=device, now=now)
    db.session.commit()
    return token
