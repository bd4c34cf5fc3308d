"""Find my settings: what an email address alone tells, asked of the domain name system and of nobody else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import rate_limit
from ..config import current_config
from ..db import db
from ..smtp.probe.autoconfig import Guess, NothingFound, find

if TYPE_CHECKING:
    from ..accounts.models import Owner

GUESSES = rate_limit.Budget("find-settings", 20, timedelta(hours=1))


class NoGuess(Exception):
    """There is no guess; the message is a sentence for the owner."""


def guess(owner: Owner, typed: str, *, now: datetime) -> Guess:
    """Return the settings that probably fit an address. Takes some seconds at most; commits. Raises NoGuess."""
    if not typed:
        raise NoGuess("Enter your email address, such as you@example.com.")
    allowed = rate_limit.spend(GUESSES, owner.account_id, now=now)
    db.session.commit()  # the look-up takes its time, and no transaction waits for it
    if not allowed:
        raise NoGuess(
            "Settings were looked for very often in the last hour. Choose your provider from the list."
        )
    try:
        return find(typed, current_config().dns_servers)
    except (NothingFound, ValueError) as why:
        raise NoGuess(str(why)) from None
