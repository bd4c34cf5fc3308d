"""Affiliates of a programme whose emails arrive in the same Gmail mailbox. They stay several affiliates: the owner decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from ..db import db
from .models import Affiliate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = 5
_AT_ONCE = 400  # values of one query
_AT_GMAIL = text("gmail_name IS NOT NULL")  # as in the partial index, so that the planner recognises it


def find_others(affiliate: Affiliate) -> Sequence[Affiliate]:
    """Return at most five other affiliates of the account with the same Gmail mailbox, oldest first."""
    if affiliate.gmail_name is None:
        return ()
    query = select(Affiliate).where(
        _AT_GMAIL,
        Affiliate.account_id == affiliate.account_id,
        Affiliate.gmail_name == affiliate.gmail_name,
        Affiliate.id != affiliate.id,
    )
    return db.session.scalars(query.order_by(Affiliate.id).limit(_SHOWN)).all()


def known_names(account_id: int, names: Iterable[str]) -> set[str]:
    """Return those of these Gmail names that an affiliate of the account has."""
    wanted, found = sorted(names), set()
    for start in range(0, len(wanted), _AT_ONCE):
        query = select(Affiliate.gmail_name).where(
            _AT_GMAIL,
            Affiliate.account_id == account_id,
            Affiliate.gmail_name.in_(wanted[start : start + _AT_ONCE]),
        )
        found |= {name for name in db.session.scalars(query) if name is not None}
    return found


def shared_names(account_id: int, affiliates: Iterable[Affiliate]) -> set[str]:
    """Return the Gmail names of these affiliates that several affiliates of the account have."""
    names = {row.gmail_name for row in affiliates if row.gmail_name is not None}
    if not names:
        return set()
    query = select(Affiliate.gmail_name).where(
        _AT_GMAIL, Affiliate.account_id == account_id, Affiliate.gmail_name.in_(names)
    )
    shared = query.group_by(Affiliate.gmail_name).having(func.count() > 1)
    return {name for name in db.session.scalars(shared) if name is not None}
