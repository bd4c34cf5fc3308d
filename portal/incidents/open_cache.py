"""Which accounts have an open incident, remembered for a second: an accepted email asks, and most have none.

What this memory misses, the watch finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import select

from ..db import db
from ..state import get_state
from .models import Incident

_LASTS = 1.0  # seconds


@dataclass
class _Memory:
    read_at: float = float("-inf")
    accounts: set[int] = field(default_factory=set)


def any_of(account_id: int) -> bool:
    """Whether the account may have an open incident; reads within the present transaction."""
    memory = _memory()
    if not 0 <= monotonic() - memory.read_at < _LASTS:
        query = select(Incident.account_id).where(Incident.is_open).distinct()
        memory.accounts, memory.read_at = set(db.session.scalars(query)), monotonic()
    return account_id in memory.accounts


def remember(account_id: int) -> None:
    """Note that an incident was opened here."""
    _memory().accounts.add(account_id)


def _memory() -> _Memory:
    return get_state().part(_Memory)
