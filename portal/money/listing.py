"""The lists of commissions: the owner's page, an affiliate's dashboard and the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_babel import lazy_gettext as _
from sqlalchemy import and_, func, or_, select

from ..affiliates.models import Affiliate
from ..amounts import format_money, from_units
from ..db import db
from ..web.pagination import Page, newest_first
from .models import COUNTED, Commission, CommissionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TABS = (
    CommissionState.PENDING,
    CommissionState.APPROVED,
    CommissionState.DECLINED,
    CommissionState.REPEATED,
    CommissionState.DISMISSED,
)
STATE_LABELS: Mapping[CommissionState, str] = {
    CommissionState.PENDING: _("Waits for approval"),
    CommissionState.APPROVED: _("Approved"),
    CommissionState.DECLINED: _("Declined"),
    CommissionState.REPEATED: _("Reported twice"),
    CommissionState.DISMISSED: _("Same purchase"),
}
_TONES: Mapping[CommissionState, str] = {
    CommissionState.PENDING: "pending",
    CommissionState.APPROVED: "approved",
    CommissionState.DECLINED: "cancelled",
    CommissionState.REPEATED: "held",
    CommissionState.DISMISSED: "cancelled",
}
# Not a row that holds a refund or a decision alone, whose purchase is not reported yet.
_IS_KNOWN = Commission.is_purchased | (Commission.earned > 0)
_IS_REFUNDED = and_(
    Commission.is_purchased, Commission.earned > 0, Commission.refunded >= Commission.earned
)  # all of it
_OPEN = (CommissionState.PENDING, CommissionState.APPROVED)


@dataclass(frozen=True)
class CommissionView:
    """A commission as pages show it. ``refunded`` is empty if nothing was refunded."""

    row: Commission
    affiliate: Affiliate | None
    amount: str
    earned: str
    refunded: str
    remaining: str
    label: str
    tone: str


def list_commissions(
    account_id: int, state: CommissionState, *, before: int | None = None, after: int | None = None
) -> Page[Any]:
    """Return one page of the account's commissions in one state, newest first. Refunded ones are with the declined."""
    query = select(Commission).where(Commission.account_id == account_id, _IS_KNOWN)
    if state is CommissionState.DECLINED:
        query = query.where(or_(Commission.state == state, Commission.state.in_(_OPEN) & _IS_REFUNDED))
    elif state in _OPEN:
        query = query.where(Commission.state == state, ~_IS_REFUNDED)
    else:
        query = query.where(Commission.state == state)
    return newest_first(query, Commission.id, before=before, after=after)


def count_by_state(account_id: int) -> Mapping[CommissionState, int]:
    """Return the number of commissions that each state's list has."""
    query = select(Commission.state, _IS_REFUNDED, func.count()).where(
        Commission.account_id == account_id, _IS_KNOWN
    )
    found: dict[CommissionState, int] = {}
    for state, is_refunded, count in db.session.execute(query.group_by(Commission.state, _IS_REFUNDED)):
        listed = CommissionState.DECLINED if is_refunded and state in _OPEN else state
        found[listed] = found.get(listed, 0) + count
    return found


def count_repeated(account_id: int) -> int:
    """Return how many purchases of orders that were reported before wait for the owner's answer."""
    query = select(func.count()).where(
        Commission.account_id == account_id, Commission.state == CommissionState.REPEATED
    )
    return db.session.scalar(query) or 0


def newest_of_affiliate(affiliate_id: int, count: int) -> list[CommissionView]:
    """Return the newest commissions of an affiliate, as the affiliate may see them."""
    query = select(Commission).where(
        Commission.affiliate_id == affiliate_id,
        Commission.state.in_(COUNTED),
        _IS_KNOWN,
    )
    return [_view(row, None) for row in db.session.scalars(query.order_by(Commission.id.desc()).limit(count))]


def of_order(account_id: int, order: str) -> Sequence[Commission]:
    """Return the commissions of one order."""
    query = select(Commission).where(Commission.account_id == account_id, Commission.order_ref == order)
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
    """Return the views of these commissions, with their affiliates."""
    query = select(Affiliate).where(Affiliate.id.in_({row.affiliate_id for row in rows}))
    affiliates = {one.id: one for one in db.session.scalars(query)}
    return [_view(row, affiliates.get(row.affiliate_id)) for row in rows]


def state_label(row: Commission) -> str:
    """Return the state in words, with what happened to the money of an approved or pending one."""
    if row.state in _OPEN and row.is_refunded:
        return str(_("Refunded"))
    if row.is_paid:
        return str(_("Paid"))
    return str(STATE_LABELS[row.state])


def _view(row: Commission, affiliate: Affiliate | None) -> CommissionView:
    def money(units: int) -> str:
        return format_money(from_units(units), row.currency)

    return CommissionView(
        row=row,
        affiliate=affiliate,
        amount=money(row.amount) if row.is_purchased else "",
        earned=money(row.earned),
        refunded=money(min(row.refunded, row.earned)) if row.refunded else "",
        remaining=money(row.remaining),
        label=state_label(row),
        tone="cancelled" if row.state in _OPEN and row.is_refunded else _TONES[row.state],
    )
