"""CSV export of the owner's affiliates, streamed in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ..affiliates.links import public_url
from ..affiliates.models import Affiliate
from ..db import db
from ..web.csv import csv_header, csv_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..accounts.models import Account
    from ..config import Config

_BATCH_ROWS = 500
_HEADERS = ("Name", "Email", "Status", "Code", "Link", "Signed up", "Agreed to emails", "Confirmed")


def stream_csv(account: Account, config: Config) -> Iterator[str]:
    """Yield the file in parts, oldest affiliate first. Only one batch of rows is in memory at a time."""
    yield csv_header(_HEADERS)
    last_id = 0
    while rows := _next_batch(account.id, last_id):
        yield csv_lines(_cells(row, account, config) for row in rows)
        last_id = rows[-1].id
        db.session.expunge_all()


def _next_batch(account_id: int, last_id: int) -> list[Affiliate]:
    query = select(Affiliate).where(Affiliate.account_id == account_id, Affiliate.id > last_id)
    return list(db.session.scalars(query.order_by(Affiliate.id).limit(_BATCH_ROWS)))


def _cells(row: Affiliate, account: Account, config: Config) -> tuple[object, ...]:
    link = public_url(row, account, config)
    times = (row.created_at, row.consented_at, row.confirmed_at)
    return (row.name, row.mailbox, row.state.value, row.code, link, *times)
