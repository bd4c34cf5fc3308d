"""The demo account of ``make run``: a programme and its owner, with no emails yet. Its password is published.

It belongs to a rehearsal. A portal that is none refuses the password, does not start while it is set, and
``python -m portal.bootstrap`` replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from .accounts import sessions
from .accounts.models import Owner, OwnerSession
from .accounts.passwords import DEMO_PASSWORD, hasher
from .accounts.profile import set_operator
from .accounts.registration import create_owner
from .accounts.tokens import new_token
from .clock import utcnow
from .db import db
from .notices import branding
from .state import current_config

if TYPE_CHECKING:
    from datetime import datetime

PROGRAMME = "Brightleaf"
NAME = "Ada Fairweather"
MAILBOX = "owner@brightleaf.example"
ADDRESS = "Brightleaf\n1 Garden Lane\nSampletown"
SHOP = "https://shop.brightleaf.example/"
PASSWORD = DEMO_PASSWORD


class NoRehearsal(Exception):
    """The portal is no rehearsal, so it gets no demo account. The message is one sentence."""


def seed() -> None:
    """Create the demo owner unless it exists. Commits. Raises NoRehearsal."""
    if not current_config().rehearsal:
        raise NoRehearsal(
            "The demo account is an operator with a published password, so only a rehearsal may have it. "
            "For a portal of your own run `flask create-owner --operator`."
        )
    if db.session.scalar(select(Owner.id).where(Owner.mailbox_key == MAILBOX)) is None:
        owner = create_owner(PROGRAMME, NAME, MAILBOX, PASSWORD, now=utcnow())
        branding.save_address(owner.account, ADDRESS, without=False, now=utcnow())
        owner.account.shop_url = SHOP
        db.session.commit()
        set_operator(MAILBOX, operator=True)


def has_published_password() -> bool:
    """Return whether the demo owner exists and still has the published password. No transaction may be open."""
    stored = db.session.scalar(select(Owner.password_hash).where(Owner.mailbox_key == MAILBOX))
    db.session.rollback()
    return stored is not None and hasher().verify(stored, PASSWORD)


def replace_published_password(now: datetime) -> bool:
    """Replace the demo owner's published password by a random one and end its sessions. Commits.

    Returns False if that password is not set.
    """
    if not has_published_password():
        return False
    hashed = hasher().hash(new_token())
    owner = db.session.scalars(select(Owner).where(Owner.mailbox_key == MAILBOX)).one()
    owner.password_hash = hashed
    sessions.revoke(OwnerSession.owner_id == owner.id, now=now)
    db.session.commit()
    return True
