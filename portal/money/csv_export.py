"""CSV export of an account's commissions, streamed in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.models import Affiliate
from ..amounts import from_units, plain_number
from ..db import db
from ..web.csv import Number, csv_header, csv_lines
from .models import IS_LISTED, Commission

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH_ROWS = 500
_HEADERS = (
    "Order", "Affiliate", "Code", "Status", "Currency", "Amount", "Commission", "Refunded", "Left", "Paid", "Reason",
    "Happened", "Decided",
)  # fmt: skip


def stream_csv(account_id: int) -> Iterator[str]:
    """Yield the file in parts, oldest commission first. Only one batch of rows is in memory at a time.

    *Left* is what counts: it is zero for a commission that was declined, whose order was reported before, or that does not
    fit the purchase of its order.
    """
    yield csv_header(_HEADERS)
    last_id = 0
    while rows := _next_batch(account_id, last_id):
        yield csv_lines(_cells(row, affiliate) for row, affiliate in rows)
        last_id = rows[-1][0].id
        db.session.expunge_all()


def _next_batch(account_id: int, last_id: int) -> list[tuple[Commission, Affiliate]]:
    query = (
        select(Commission, Affiliate)
        .join(Affiliate, Affiliate.id == Commission.affiliate_id)
        .where(
            Commission.account_id == account_id,
            Commission.id > last_id,
            IS_LISTED,
        )
        .order_by(Commission.id)
        .limit(_BATCH_ROWS)
    )
    return [(row[0], row[1]) for row in db.session.execute(query)]


def _cells(row: Commission, affiliate: Affiliate) -> tuple[object, ...]:
    def number(units: int) -> Number:
        return Number(plain_number(from_units(units), row.currency))

    money = [number(one) for one in (row.amount, row.earned, row.shown_refund, row.remaining, row.paid)]
    who = (row.order_ref, affiliate.name, affiliate.code, row.state.value, row.currency)
    return (*who, *money, row.reason, row.occurred_at, row.decided_at)
