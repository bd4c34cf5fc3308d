"""Approving or declining many affiliates at once: those chosen, or all that wait and match a search.

One press decides about at most ``MAX_AFFILIATES``, each in a commit of its own, so that no request takes long, and only about
those that the page before it counted: the page states how many others wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ...affiliates.models import Affiliate, AffiliateState
from ...db import db
from .. import moderation
from ..listing import conditions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from ...accounts.models import Account

MAX_AFFILIATES = 200


class BulkDecision(StrEnum):
    """What is decided about many affiliates."""

    APPROVE = "approve"
    DECLINE = "decline"


@dataclass(frozen=True)
class Selection:
    """The affiliates that were chosen by id; with None, all that wait for approval and match ``search``.

    ``is_of_all``: the ids are those that a preview of all showed, so only who still waits is decided about.
    """

    ids: Sequence[int] | None = None
    search: str = ""
    is_of_all: bool = False


@dataclass(frozen=True)
class BulkPreview:
    """What a decision will change. ``unchanged``: chosen affiliates in a state that the decision does not apply to.

    ``ids`` are those that one press decides about.
    """

    changes: int
    unchanged: int
    ids: Sequence[int]
    names: Sequence[str]  # of the first ones

    @property
    def at_once(self) -> int:
        """How many of them one press decides about."""
        return len(self.ids)


_NAMES = 10


def preview(account_id: int, decision: BulkDecision, selection: Selection) -> BulkPreview:
    """Count what a decision will change."""
    found = _affected(account_id, decision, selection)
    number = db.session.scalar(select(func.count()).select_from(Affiliate).where(*found)) or 0
    query = select(Affiliate.id, Affiliate.name).where(*found).order_by(Affiliate.id).limit(MAX_AFFILIATES)
    rows = db.session.execute(query).all()
    chosen = 0 if selection.ids is None else _count_own(account_id, selection.ids)
    return BulkPreview(
        number, max(0, chosen - number), [row.id for row in rows], [row.name for row in rows[:_NAMES]]
    )


def count_waiting(account_id: int, search: str) -> int:
    """Count the affiliates who wait for approval and match a search."""
    found = _affected(account_id, BulkDecision.APPROVE, Selection(None, search))
    return db.session.scalar(select(func.count()).select_from(Affiliate).where(*found)) or 0


def decide(
    account: Account, decision: BulkDecision, selection: Selection, *, reason: str = "", now: datetime
) -> int:
    """Decide about the affiliates of a selection, the oldest first; return how many were changed. Commits each."""
    query = select(Affiliate.id).where(*_affected(account.id, decision, selection))
    ids = db.session.scalars(query.order_by(Affiliate.id).limit(MAX_AFFILIATES)).all()
    changed = 0
    for id_ in ids:
        if decision is BulkDecision.APPROVE:
            change = moderation.approve(account, id_, now=now)
        else:
            change = moderation.decline(account, id_, reason, now=now)
        changed += change is not None and change.changed
    return changed


def _affected(account_id: int, decision: BulkDecision, selection: Selection) -> Sequence[ColumnElement[bool]]:
    if selection.ids is None:
        return *conditions(account_id, selection.search), Affiliate.state == AffiliateState.PENDING
    states = moderation.APPROVABLE if decision is BulkDecision.APPROVE else moderation.DECLINABLE
    if selection.is_of_all:
        states = (AffiliateState.PENDING,)
    return Affiliate.account_id == account_id, Affiliate.id.in_(selection.ids), Affiliate.state.in_(states)


def _count_own(account_id: int, ids: Sequence[int]) -> int:
    query = select(func.count()).select_from(Affiliate)
    return db.session.scalar(query.where(Affiliate.account_id == account_id, Affiliate.id.in_(ids))) or 0
