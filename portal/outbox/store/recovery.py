"""What the dead left behind: the table is made to say what their journals say, and their slots are given back."""

from __future__ import annotations

import logging

from ...db import db
from ...db.transaction import db_now
from ..models import ConnectionLease
from . import acceptance_log, claims, connection_leases

_log = logging.getLogger(__name__)


def settle_the_dead() -> int:
    """Settle what processes wrote down that are gone, and let go of what they held.

    Returns how many messages were accepted without anybody having recorded it. Commits.
    """
    count = 0
    for entries in acceptance_log.of_the_dead():
        now = db_now()
        count += sum([claims.bring_in(entry, now) for entry in entries])
        for token in {entry["token"] for entry in entries}:
            slot = db.session.get(ConnectionLease, token)
            if slot is not None:
                _let_go(slot.account_id, token)
        db.session.commit()
    if count:
        _log.info("%s messages that a dead worker had handed in were recorded as accepted", count)
    return count


def give_back(ident: int, token: str) -> None:
    """End a drain of this process from outside: its slot, and what it had claimed and not begun. Commits.

    What it wrote down comes first: an acceptance that is not in the table yet must not be given back.
    """
    mine, now = acceptance_log.of_this_process(), db_now()
    for entry in mine.open_of(token):
        claims.bring_in(entry, now)
    _let_go(ident, token)
    db.session.commit()
    mine.forget(token)


def _let_go(ident: int, token: str) -> None:
    claims.give_all_back(ident, token)
    connection_leases.close(token)
