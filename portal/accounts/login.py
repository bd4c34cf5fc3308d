"""Log-in by password, rate-limited, without revealing which mailboxes are registered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask_babel import gettext as _
from sqlalchemy import select

from .. import audit, rate_limit
from ..db import db
from ..rate_limit import RateLimit
from ..security_log import SecurityEvent, record
from ..web.filters import format_time
from . import emails
from .activity.warnings import warn_person
from .factors import entry
from .factors.entry import Entry, NoProgramme
from .factors.state import has_factor
from .identifiers import mailbox_key
from .models import Owner, OwnerSession
from .passwords import hasher, is_refused_demo
from .sessions import device_label
from .team.programmes import first_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..outbox.queue import NewMessage
    from .known_browsers import KnownBrowser
    from .sessions import Device

# One network guesses few passwords of a mailbox, and all networks together not many (NIST SP 800-63B: at most 100).
LOGINS_PER_NETWORK = RateLimit("log-in by network", 50, timedelta(minutes=15))
LOGINS_PER_MAILBOX_AND_NETWORK = RateLimit("log-in by mailbox and network", 10, timedelta(minutes=15))
LOGINS_PER_MAILBOX_AND_NETWORK_DAILY = RateLimit("log-ins a day", 30, timedelta(days=1))
LOGINS_PER_MAILBOX = RateLimit("log-in by mailbox", 100, timedelta(days=1))
# A browser that an owner logged in with before, and one that is logged in, have attempts of their own.
LOGINS_PER_BROWSER = RateLimit("log-in by browser", 10, timedelta(minutes=15))
# Failed log-ins that the audit trail lists, of each mailbox.
_FAILURES_LISTED = RateLimit("failed log-ins in the audit trail", 20, timedelta(days=1))
_NEW_PERSON = timedelta(days=1)  # after the registration; without any log-in yet, no browser is known
PASSWORDS_PER_SESSION = RateLimit("password by session", 10, timedelta(minutes=15))


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
class Visitor:
    """Where a log-in comes from: the device with its network, and the browser if an owner used it before."""

    device: Device
    browser: KnownBrowser | None = None

    @property
    def network(self) -> str:
        """The network, the key of rate limits."""
        return self.device.network


@dataclass(frozen=True)
class _StoredPassword:
    id: int
    account_id: int
    present_account_id: int | None  # that the person still belongs to
    password_hash: str
    key: str  # of the mailbox
    name: str


def log_in(
    mailbox: str,
    password: str,
    visitor: Visitor,
    *,
    now: datetime,
    joining: Callable[[int], int] | None = None,
) -> Entry:
    """Check a password and let the person in, or let the log-in wait for the second factor. Commits.

    ``joining`` lets a person, by id, join an account in the transaction that starts the session, and returns the account;
    what it raises undoes the log-in. It is not called while the log-in waits.

    Known and unknown mailboxes are treated alike: both count against the rate limits, both cost one verification. The
    demo owner's published password is right in a rehearsal only.

    Raises WrongCredentials, TooManyAttempts or NoProgramme.
    """
    key = mailbox_key(mailbox)
    stored = _find_stored_password(key, visitor, now)
    is_right = hasher().verify(stored.password_hash if stored else None, password)
    if not is_right or stored is None or is_refused_demo(password):
        _list_failure(key, stored, visitor, now)
        record(SecurityEvent.LOG_IN_FAILED, **_concerned(stored), reason="password" if stored else "mailbox")
        raise WrongCredentials
    new_hash = (
        hasher().hash(password) if hasher().needs_rehash(stored.password_hash) else stored.password_hash
    )
    entered = _enter(stored, new_hash, visitor, now, joining)
    if not entered.is_pending:
        record(SecurityEvent.LOG_IN, **_concerned(stored))
    return entered


def _list_failure(key: str, stored: _StoredPassword | None, visitor: Visitor, now: datetime) -> None:
    """Record a wrong password, a few times a day. An unknown mailbox costs a transaction as well, which times alike. Commits."""
    is_listed = rate_limit.consume(_FAILURES_LISTED, key, now=now)
    if is_listed and stored is not None:
        actor = audit.Actor(audit.Way.PAGE, stored.id, stored.name, network=visitor.network)
        failed, refused = audit.Activity.LOG_IN_FAILED, audit.AuditOutcome.REFUSED
        audit.record(
            failed,
            stored.present_account_id,
            actor=actor,
            outcome=refused,
            after={"device": visitor.device.name},
        )
    db.session.commit()


def _concerned(stored: _StoredPassword | None) -> dict[str, int]:
    """Return account and owner for the security log; nothing for a mailbox that is no owner's."""
    return {"account": stored.account_id, "owner": stored.id} if stored else {}


def _find_stored_password(key: str, visitor: Visitor, now: datetime) -> _StoredPassword | None:
    """Count this attempt and fetch the hash in one transaction, which ends before the slow verification."""
    present = first_account().label("present")
    columns = (Owner.id, Owner.account_id, present, Owner.password_hash, Owner.name)
    row = db.session.execute(select(*columns).where(Owner.mailbox_key == key)).one_or_none()
    stored = (
        _StoredPassword(row.id, row.account_id, row.present, row.password_hash, key, row.name)
        if row
        else None
    )
    wait, reached = timedelta(), ""
    for limit, of in _limits(key, row.id if row else None, visitor):
        wait = rate_limit.consume_or_wait(limit, *of, now=now)
        if wait:  # what this limit refuses is not counted by those that other people share
            reached = limit.name
            break
    db.session.commit()
    if wait:
        record_lock_out(reached, wait, **_concerned(stored))
        raise TooManyAttempts(wait)
    return stored


def _limits(key: str, owner_id: int | None, visitor: Visitor) -> Iterator[tuple[RateLimit, tuple[str, ...]]]:
    """Yield the limits of an attempt and their keys, in the order in which they count it."""
    if visitor.browser is not None and owner_id in visitor.browser.owner_ids:
        yield LOGINS_PER_BROWSER, (key, visitor.browser.id)
        return
    yield LOGINS_PER_NETWORK, (visitor.network,)
    yield LOGINS_PER_MAILBOX_AND_NETWORK, (key, visitor.network)
    yield LOGINS_PER_MAILBOX_AND_NETWORK_DAILY, (key, visitor.network)
    yield LOGINS_PER_MAILBOX, (key,)


def _enter(
    stored: _StoredPassword,
    new_hash: str,
    visitor: Visitor,
    now: datetime,
    joining: Callable[[int], int] | None,
) -> Entry:
    # Joining comes first, because it locks the account.
    joined = joining(stored.id) if joining and not has_factor(stored.id) else None
    # The password may have been changed during the slow verification.
    same = select(Owner, first_account()).where(
        Owner.id == stored.id, Owner.password_hash == stored.password_hash
    )
    row = db.session.execute(same.with_for_update(of=Owner, key_share=True)).one_or_none()
    if row is None:
        db.session.rollback()
        raise WrongCredentials
    owner, account_id = row
    if joined is not None:
        account_id = joined
    owner.password_hash = new_hash
    for limit, of in _limits(stored.key, stored.id, visitor):
        if limit is not LOGINS_PER_NETWORK:
            rate_limit.reset(limit, *of, now=now)
    reset_attempts(stored.key, now=now)
    if not has_factor(owner.id):
        warn_of_new_device(owner, visitor, now)
    try:
        entered = entry.enter(owner.id, account_id, device=visitor.device, now=now)
    except NoProgramme:
        db.session.rollback()
        raise
    db.session.commit()
    return entered


def warn_of_new_device(owner: Owner, visitor: Visitor, now: datetime) -> None:
    """Email a person who logs in with a browser that is new to them, unless it is the first log-in of all. The caller commits."""
    if visitor.browser is not None and owner.id in visitor.browser.owner_ids:
        return
    has_sessions = db.session.scalar(
        select(OwnerSession.id).where(OwnerSession.owner_id == owner.id).limit(1)
    )
    if has_sessions is None and owner.created_at > now - _NEW_PERSON:
        return

    def mail(mailbox: str, key: str, link: str) -> NewMessage:
        where = _(
            "%(device)s, from the network %(network)s, %(time)s",
            device=device_label(visitor.device.name),
            network=visitor.network,
            time=format_time(now),
        )
        return emails.new_device(mailbox, key, where, link)

    warn_person(owner, mail)


def count_password(session_id: int, *, now: datetime) -> timedelta:
    """Count one password entered by a logged-in owner; return zero, or the time to wait. The caller commits."""
    return rate_limit.consume_or_wait(PASSWORDS_PER_SESSION, session_id, now=now)


def reset_passwords(session_id: int, *, now: datetime) -> None:
    """Reset the passwords counted for a session, after a right one. The caller commits."""
    rate_limit.reset(PASSWORDS_PER_SESSION, session_id, now=now)


def reset_attempts(key: str, *, now: datetime) -> None:
    """Reset the attempts that all networks share for this mailbox, after a proof of its owner. The caller commits."""
    rate_limit.reset(LOGINS_PER_MAILBOX, key, now=now)


def record_lock_out(limit: str, wait: timedelta, **concerned: int) -> None:
    """Write to the security log that a rate limit refuses passwords for a time."""
    record(SecurityEvent.LOG_IN_LOCKED, **concerned, limit=limit, wait_s=math.ceil(wait.total_seconds()))


def log_in_new_owner(owner_id: int, *, device: Device, now: datetime) -> Entry:
    """Let a person in who has just registered and thereby proved the password. Commits."""
    owner = db.session.get_one(Owner, owner_id)
    entered = entry.enter(owner_id, owner.account_id, device=device, now=now)
    db.session.commit()
    return entered
