"""Operators: the owners who run this portal and may see its outbox."""

from __future__ import annotations

from sqlalchemy import select

from ..db import db
from .models import Owner
from .names import mailbox_key


def set_operator(mailbox: str, operator: bool) -> Owner | None:
    """Make an owner an operator, or no longer; None for an unknown mailbox. Commits."""
    owner = db.session.scalar(select(Owner).where(Owner.mailbox_key == mailbox_key(mailbox)))
    if owner is not None:
        owner.is_operator = operator
    db.session.commit()
    return owner
