"""The end of a log-in whose every factor is proved: it starts the session, and lets an invited person join."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ...db import db
from ...security_log import SecurityEvent, record
from ..login import warn_of_new_device
from ..models import Owner
from ..team.accepting import Joining
from ..team.programmes import first_account
from . import entry
from .state import lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..login import Visitor
    from ..models import ProvedBy


def complete_log_in(
    owner_id: int,
    visitor: Visitor,
    *,
    check: Callable[[], tuple[ProvedBy, str]],
    now: datetime,
    invitation: str,
) -> str:
    """Start the session of a person; return its token. Commits, or undoes everything and raises.

    ``check`` runs while the person is locked; it returns how the person proved the identity, and the name of the factor
    for the security log. ``invitation`` is the token of the one by which the person joins an account in the same
    transaction, or empty.

    Raises NoProgramme, for an invitation InvalidLink or OtherMailbox, and what ``check`` raises.
    """
    join = Joining(invitation, now) if invitation else None
    try:
        account_id = join(owner_id) if join else None  # first, because it locks the account
        lock(owner_id)  # before the challenge, as a change of the password does
        by, factor = check()
        if account_id is None:
            account_id = db.session.scalar(select(first_account()).where(Owner.id == owner_id))
        warn_of_new_device(db.session.get_one(Owner, owner_id), visitor, now)
        entered = entry.complete(owner_id, account_id, device=visitor.device, by=by, now=now)
    except BaseException:
        db.session.rollback()
        raise
    db.session.commit()
    record(SecurityEvent.LOG_IN, owner=owner_id, account=account_id, factor=factor)
    if join:
        join.record()
    return entered.token
