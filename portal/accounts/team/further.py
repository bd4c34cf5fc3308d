"""Registers a further programme of a person who is logged in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ... import rate_limit
from ...db import db
from ...rate_limit import RateLimit
from .. import names, registration
from ..login import TooManyAttempts
from ..models import Account, Owner
from . import programmes

if TYPE_CHECKING:
    from ..sessions import LoggedIn

PER_PERSON = RateLimit("further programmes of a person", 5, timedelta(hours=24))


def may_add_programme(user: LoggedIn) -> bool:
    """Return whether a person may register another programme: operators always, others where visitors may."""
    return user.is_operator or registration.is_open()


def add_programme(user: LoggedIn, programme: str, *, now: datetime) -> None:
    """Register another programme of a person, who owns it, and show it in this session. Commits.

    The programme of an operator is approved. Others are limited as one that a visitor registers.

    Raises:
        NameRefused: the name is not accepted.
        RegistrationClosed: visitors cannot register.
        TooManyAttempts: the person registered too many programmes today.
        RegistrationRefused: the row could not be written.
    """
    if not may_add_programme(user):
        raise registration.RegistrationClosed
    name = programme.strip()
    if why := names.why_refused(name):
        raise registration.NameRefused("programme", why)
    wait = rate_limit.consume_or_wait(PER_PERSON, user.id, now=now)
    db.session.commit()
    if wait:
        raise TooManyAttempts(wait)

    def add_owner(account: Account) -> Owner:
        db.session.add(account)
        db.session.flush()
        programmes.show(user.id, user.session_id, account.id)
        return db.session.get_one(Owner, user.id)

    vouched = registration.Vouched(is_approved=user.is_operator)
    registration.create_account(name, vouched, add_owner, now=now)
