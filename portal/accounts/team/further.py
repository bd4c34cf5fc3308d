"""Registers a further programme of a person who has a log-in already, by the person or by the operator's command."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from ... import rate_limit
from ...db import db
from ...rate_limit import RateLimit
from .. import names, registration
from ..identifiers import mailbox_key
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
    name = _validate(programme)
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


def give_programme(mailbox: str, programme: str, *, now: datetime) -> Owner | None:
    """Register a programme for the person with this mailbox; return its owner, or None for an unknown mailbox. Commits.

    For a person who was removed from the last programme, and cannot log in. It is approved, as the operator runs the command.
    Raises NameRefused or RegistrationRefused.
    """
    name = _validate(programme)
    owner_id = db.session.scalar(select(Owner.id).where(Owner.mailbox_key == mailbox_key(mailbox)))
    db.session.rollback()
    if owner_id is None:
        return None

    def add_owner(account: Account) -> Owner:
        owner = db.session.get_one(Owner, owner_id)
        owner.account = account
        db.session.add(account)
        return owner

    return registration.create_account(name, registration.Vouched(is_approved=True), add_owner, now=now)


def _validate(programme: str) -> str:
    name = programme.strip()
    if why := names.why_refused(name):
        raise registration.NameRefused("programme", why)
    return name
