"""How long an account keeps its messages: their words for a while, then what became of them a while longer."""

from __future__ import annotations

from dataclasses import dataclass

from ..db import db, insert
from .models import DeliveryKeeping

LEAST, MOST = 1, 3650  # days


@dataclass(frozen=True)
class Keeping:
    """Days since a message was settled: until its words go, and until it goes."""

    body_days: int = 90
    row_days: int = 400


def of(account_id: int) -> Keeping:
    """Return what the account has chosen, or what is usual."""
    row = db.session.get(DeliveryKeeping, account_id)
    return Keeping(row.body_days, row.row_days) if row else Keeping()


def save(account_id: int, chosen: Keeping) -> None:
    """Keep messages as long as this from now on. Commits."""
    values = {"body_days": chosen.body_days, "row_days": chosen.row_days}
    statement = insert(DeliveryKeeping).values(account_id=account_id, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    db.session.commit()
