"""The second step of a log-in: a code of the authenticator app, or a recovery code.

Codes are limited for each person, for each person from one network, and for each network; both kinds share the limits. A
browser that the person logged in with before, and an open session, have codes of their own, so that a stranger who knows
the password cannot use them up. A guess is right three times in a million (``totp``): 50 a day for all strangers together
are one chance in 6,600, and as many for the person's own devices. Five attempts end the pending log-in. Of five wrong
codes in a day the person is informed, because the password was right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from ... import audit, rate_limit
from ...db import db
from ...rate_limit import RateLimit
from ...security_log import SecurityEvent, record
from ..login import TooManyAttempts, record_lock_out
from ..models import Owner, ProvedBy
from ..team.programmes import account_of
from . import challenges, emails, recovery, totp
from .completing import complete_log_in
from .models import ChallengePurpose
from .state import codes_left

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ..login import Visitor
    from ..sessions import LoggedIn

CODES_PER_NETWORK = RateLimit("codes by network", 50, timedelta(minutes=15))
CODES_PER_PERSON_AND_NETWORK = RateLimit("codes by person and network", 10, timedelta(minutes=15))
CODES_PER_PERSON_AND_NETWORK_DAILY = RateLimit("codes by person and network a day", 20, timedelta(days=1))
CODES_PER_PERSON = RateLimit("codes by person", 50, timedelta(days=1))
CODES_PER_DEVICE = RateLimit("codes by device", 10, timedelta(minutes=15))
CODES_PER_DEVICE_DAILY = RateLimit("codes by device a day", 30, timedelta(days=1))
CODES_OF_DEVICES = RateLimit("codes of all devices of a person", 50, timedelta(days=1))
_TOTALS = (CODES_PER_NETWORK, CODES_PER_PERSON, CODES_OF_DEVICES)  # a right code does not make them anew
# Wrong codes of a person, in however many log-ins, until the person is informed.
_UNREPORTED = RateLimit("wrong codes without an email", challenges.MAX_ATTEMPTS - 1, timedelta(days=1))
_EMAILS = RateLimit("emails about wrong codes", 1, timedelta(days=1))


class PendingEnded(Exception):
    """The log-in waits no more: five minutes have passed, it had five wrong codes, or it was completed."""


class WrongCode(Exception):
    """The code is not right, or has counted already."""


@dataclass(frozen=True)
class CodeSource:
    """Where a code comes from: the network, and the person's own device by its id, empty for one that is not known."""

    network: str
    device: str = ""

    @classmethod
    def of_visitor(cls, visitor: Visitor, owner_id: int) -> CodeSource:
        """Return the source of a log-in."""
        is_known = visitor.browser is not None and owner_id in visitor.browser.owner_ids
        return cls(visitor.network, f"browser {visitor.browser.id}" if visitor.browser and is_known else "")

    @classmethod
    def of_session(cls, user: LoggedIn, network: str) -> CodeSource:
        """Return the source of a code that is entered in an open session."""
        return cls(network, f"session {user.session_id}")


class Factor(StrEnum):
    """What was proved, as the security log names it."""

    APP = "app"
    RECOVERY_CODE = "recovery-code"


def is_waiting(token: str, *, now: datetime) -> bool:
    """Return whether a log-in waits for its second factor."""
    return challenges.find(token, ChallengePurpose.LOG_IN, now=now) is not None


def complete(token: str, code: str, visitor: Visitor, *, now: datetime, invitation: str = "") -> str:
    """Complete a pending log-in by a code; return the session's token. Commits. ``invitation`` as in ``complete_log_in``.

    Raises PendingEnded, WrongCode, TooManyAttempts, and as ``complete_log_in``; then the code still counts.
    """
    owner_id, source = _count(token, visitor, now)

    def check() -> tuple[ProvedBy, str]:
        factor = prove(owner_id, code, source, now=now)
        if not challenges.use(token, ChallengePurpose.LOG_IN):
            raise PendingEnded
        return ProvedBy.CODE, factor.value

    try:
        return complete_log_in(owner_id, visitor, check=check, now=now, invitation=invitation)
    except WrongCode:
        _refuse(token, owner_id, visitor, now)
        raise


def prove(owner_id: int, code: str, source: CodeSource, *, now: datetime) -> Factor:
    """Check a code, and let it count no more. The caller has counted the attempt, and commits. Raises WrongCode."""
    text = "".join(code.split())
    if len(text) == totp.DIGITS and text.isascii() and text.isdigit():
        if not totp.use(owner_id, text, now=now):
            raise WrongCode
        factor = Factor.APP
    else:
        if recovery.use(owner_id, text, now=now) is None:
            raise WrongCode
        emails.code_used(owner_id, codes_left(owner_id), now=now)
        factor = Factor.RECOVERY_CODE
    for limit, of in _limits(owner_id, source):
        if limit not in _TOTALS:
            rate_limit.reset(limit, *of, now=now)
    return factor


def _limits(owner_id: int, source: CodeSource) -> Iterator[tuple[RateLimit, tuple[object, ...]]]:
    """Yield the limits of a code and their keys, in the order in which they count it: what other people share comes last."""
    if source.device:
        yield CODES_PER_DEVICE, (owner_id, source.device)
        yield CODES_PER_DEVICE_DAILY, (owner_id, source.device)
        yield CODES_OF_DEVICES, (owner_id,)
        return
    yield CODES_PER_NETWORK, (source.network,)
    yield CODES_PER_PERSON_AND_NETWORK, (owner_id, source.network)
    yield CODES_PER_PERSON_AND_NETWORK_DAILY, (owner_id, source.network)
    yield CODES_PER_PERSON, (owner_id,)


def count_code(owner_id: int, source: CodeSource, *, now: datetime) -> None:
    """Count one entered code. Commits. Raises TooManyAttempts."""
    for limit, of in _limits(owner_id, source):
        if wait := rate_limit.consume_or_wait(limit, *of, now=now):
            db.session.commit()
            record_lock_out(limit.name, wait, owner=owner_id)
            raise TooManyAttempts(wait)
    db.session.commit()


def _count(token: str, visitor: Visitor, now: datetime) -> tuple[int, CodeSource]:
    """Count this attempt before the code is looked at; return whose log-in it is, and the source."""
    pending = challenges.find(token, ChallengePurpose.LOG_IN, now=now)
    owner_id = pending.owner_id if pending else None
    if owner_id is None:
        db.session.rollback()
        raise PendingEnded
    source = CodeSource.of_visitor(visitor, owner_id)
    count_code(owner_id, source, now=now)
    if not challenges.count_attempt(token, ChallengePurpose.LOG_IN, now=now):
        db.session.rollback()
        raise PendingEnded
    db.session.commit()
    return owner_id, source


def _refuse(token: str, owner_id: int, visitor: Visitor, now: datetime) -> None:
    """Record a wrong code. After several, inform the person; after the last attempt, raise PendingEnded."""
    is_over = challenges.find(token, ChallengePurpose.LOG_IN, now=now) is None
    is_quiet = rate_limit.consume(_UNREPORTED, owner_id, now=now)
    if not is_quiet and rate_limit.consume(_EMAILS, owner_id, now=now):
        emails.wrong_codes(owner_id, now=now)
    owner = db.session.get_one(Owner, owner_id)
    audit.record(
        audit.Activity.LOG_IN_FAILED,
        account_of(owner_id),
        actor=audit.Actor(audit.Way.PAGE, owner_id, owner.name, network=visitor.network),
        outcome=audit.AuditOutcome.REFUSED,
        after={"device": visitor.device.name, "by": "code"},
    )
    db.session.commit()
    record(SecurityEvent.LOG_IN_FAILED, owner=owner_id, reason="code")
    if is_over:
        raise PendingEnded
