"""The lists of commissions: the owner's page, an affiliate's dashboard and the API."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from sqlalchemy import bindparam, func, or_, select

from ..affiliates.directory import matches
from ..affiliates.models import Affiliate
from ..amounts import format_money, from_units
from ..db import db
from ..db.prepared import PreparedStatement, any_of
from ..web.pagination import Page, is_in, newest_first
from ..web.translations import current_language
from .models import COUNTED, IS_LISTED, IS_REFUNDED, Commission, CommissionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TABS = (
    CommissionState.PENDING,
    CommissionState.APPROVED,
    CommissionState.DECLINED,
    CommissionState.REPEATED,
    CommissionState.UNMATCHED,
    CommissionState.DISMISSED,
)
STATE_LABELS: Mapping[CommissionState, str] = {
    CommissionState.PENDING: _("Waiting for approval"),
    CommissionState.APPROVED: _("Approved"),
    CommissionState.DECLINED: _("Declined"),
    CommissionState.REPEATED: _("Reported twice"),
    CommissionState.UNMATCHED: _("Does not fit its order"),
    CommissionState.DISMISSED: _("Ignored"),
}
_TONES: Mapping[CommissionState, str] = {
    CommissionState.PENDING: "pending",
    CommissionState.APPROVED: "approved",
    CommissionState.DECLINED: "cancelled",
    CommissionState.REPEATED: "held",
    CommissionState.UNMATCHED: "held",
    CommissionState.DISMISSED: "cancelled",
}
_OPEN = (CommissionState.PENDING, CommissionState.APPROVED)
_WAITING = PreparedStatement(
    select(Commission.state, func.count())
    .where(
        Commission.account_id == bindparam("account_id"),
        any_of(Commission.state, (CommissionState.REPEATED, CommissionState.UNMATCHED)),
    )
    .group_by(Commission.state)
)


@dataclass(frozen=True)
class CommissionView:
    """A commission as pages show it. ``refunded`` is empty if nothing was refunded.

    ``purchase`` is the one that the order of an unmatched row has, with its affiliate; ``paid`` is for such a row alone.
    """

    row: Commission
    affiliate: Affiliate | None
    amount: str
    earned: str
    refunded: str
    remaining: str
    label: str
    tone: str
    paid: str
    purchase: Commission | None = None
    buyer: Affiliate | None = None


def list_commissions(
    account_id: int,
    state: CommissionState,
    *,
    before: int | None = None,
    after: int | None = None,
    search: str = "",
) -> Page[Any]:
    """Return one page of the account's commissions in one state, newest first. Refunded ones are with the declined.

    ``search`` is part of an order number, or of what an affiliate is found by.
    """
    query = select(Commission).where(Commission.account_id == account_id, IS_LISTED)
    if search:
        found = select(Affiliate.id).where(Affiliate.account_id == account_id, matches(search))
        query = query.where(or_(is_in(search, Commission.order_ref), Commission.affiliate_id.in_(found)))
    if state is CommissionState.DECLINED:
        query = query.where(or_(Commission.state == state, Commission.state.in_(_OPEN) & IS_REFUNDED))
    elif state in _OPEN:
        query = query.where(Commission.state == state, ~IS_REFUNDED)
    else:
        query = query.where(Commission.state == state)
    return newest_first(query, Commission.id, before=before, after=after)


def count_waiting(account_id: int) -> Mapping[CommissionState, int]:
    """Return how many reports wait for the owner's answer: orders reported before, and what does not fit its order."""
    return dict(_WAITING.all(account_id=account_id))


def newest_of_affiliate(affiliate_id: int, count: int) -> list[CommissionView]:
    """Return the newest commissions of an affiliate, as the affiliate may see them."""
    query = select(Commission).where(
        Commission.affiliate_id == affiliate_id,
        Commission.state.in_(COUNTED),
        IS_LISTED,
    )
    return [_view(row, None) for row in db.session.scalars(query.order_by(Commission.id.desc()).limit(count))]


def of_order(account_id: int, order: str) -> Sequence[Commission]:
    """Return the commissions of one order."""
    query = select(Commission).where(
        Commission.account_id == account_id, Commission.order_ref == order, IS_LISTED
    )
    return db.session.scalars(query.order_by(Commission.slot)).all()


def affiliates_of_order(account_id: int, order: str) -> set[int]:
    """Return the ids of the affiliates with a commission for this order, whatever the case of its letters."""
    query = select(Commission.affiliate_id).where(
        Commission.account_id == account_id, Commission.order_ref.in_(spellings(order))
    )
    return set(db.session.scalars(query))


def spellings(order: str) -> set[str]:
    """Return an order number as typed, in capital and in small letters; an index finds each."""
    return {order, order.upper(), order.lower()}


def describe(rows: Sequence[Commission]) -> list[CommissionView]:
    """Return the views of these commissions, all of one account, with their affiliates."""
    purchases = _purchases_of([row for row in rows if row.state is CommissionState.UNMATCHED])
    ids = {row.affiliate_id for row in (*rows, *purchases.values())}
    affiliates = {one.id: one for one in db.session.scalars(select(Affiliate).where(Affiliate.id.in_(ids)))}
    views = [_view(row, affiliates.get(row.affiliate_id)) for row in rows]
    return [
        replace(view, purchase=purchase, buyer=affiliates.get(purchase.affiliate_id))
        if (purchase := purchases.get(view.row.order_ref))
        else view
        for view in views
    ]


def _purchases_of(rows: Sequence[Commission]) -> Mapping[str, Commission]:
    """Return the purchases that the orders of these rows have, by order."""
    if not rows:
        return {}
    query = select(Commission).where(
        Commission.account_id == rows[0].account_id,
        Commission.order_ref.in_({row.order_ref for row in rows}),
        Commission.state.in_(COUNTED),
        Commission.is_purchased,
    )
    return {row.order_ref: row for row in db.session.scalars(query.order_by(Commission.slot.desc()))}


def state_label(row: Commission) -> str:
    """Return the state in words, with what happened to the money of an approved or pending one."""
    if row.state in _OPEN and row.is_refunded:
        return str(_("Refunded"))
    if row.is_paid:
        return str(_("Paid"))
    return str(STATE_LABELS[row.state])


def _view(row: Commission, affiliate: Affiliate | None) -> CommissionView:
    def money(units: int) -> str:
        return format_money(from_units(units), row.currency, current_language().locale)

    return CommissionView(
        row=row,
        affiliate=affiliate,
        amount=money(row.amount) if row.is_purchased else "",
        earned=money(row.earned),
        refunded=money(row.shown_refund) if row.refunded else "",
        remaining=money(row.remaining),
        label=state_label(row),
        paid=money(row.paid) if row.is_aside and row.paid else "",
        tone="cancelled" if row.state in _OPEN and row.is_refunded else _TONES[row.state],
    )
