"""Choosing an affiliate for an event that is played: the newest, or those a search finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.models import Affiliate, State
from ..db import db

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 30


def choices(account_id: int, sought: str, *, chosen: str = "") -> Sequence[Affiliate]:
    """Return affiliates, active ones first, then the newest; ``chosen`` is the code of one wanted anyhow."""
    query = select(Affiliate).where(Affiliate.account_id == account_id)
    matching = (
        query.where(Affiliate.search_text.contains(sought.casefold(), autoescape=True)) if sought else query
    )
    found = list(
        db.session.scalars(
            matching.order_by(Affiliate.state != State.ACTIVE, Affiliate.id.desc()).limit(MOST)
        )
    )
    if chosen and not sought and chosen not in {row.code for row in found}:
        found[:0] = db.session.scalars(query.where(Affiliate.code == chosen))
    return found


def label(row: Affiliate) -> str:
    """Return how an affiliate stands in the list; only what is unusual about them is said."""
    state = "" if row.state is State.ACTIVE else f" ({row.state.value})"
    return f"{row.name}{state} · {row.mailbox} · {row.code}"
