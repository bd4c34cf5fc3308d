"""The demo account of ``make run``: a programme and its owner, with no emails yet."""

from __future__ import annotations

from sqlalchemy import select

from .accounts.models import Owner
from .accounts.profile import set_operator
from .accounts.registration import create_owner
from .clock import utcnow
from .db import db

PROGRAMME = "Brightleaf"
NAME = "Ada Fairweather"
MAILBOX = "owner@brightleaf.example"
PASSWORD = "try-signet-today"  # printed at every start; the demo portal listens on loopback only


def seed() -> None:
    """Create the demo owner unless it exists. Commits."""
    if db.session.scalar(select(Owner.id).where(Owner.mailbox_key == MAILBOX)) is None:
        create_owner(PROGRAMME, NAME, MAILBOX, PASSWORD, now=utcnow())
        set_operator(MAILBOX, operator=True)
